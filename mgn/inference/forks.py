"""Models and forked processes: TensorFlow's threads belong to the process that made them."""

import os

_owner: list[int] = []  # number of the process that loaded a model first, once there is one
_ADVICE = (
    "Load the model in each process, after the fork: gunicorn without preload_app,"
    ' multiprocessing with the context "spawn"'
)


def check_process() -> None:
    """To be called before a model is loaded or used.

    Raises:
        RuntimeError: this process was forked from one that had loaded a model. TensorFlow would
            wait for ever for threads that only the other process has.
    """
    if _owner and _owner[0] != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} was forked from process {_owner[0]} after that had loaded a"
            f" model, and cannot use TensorFlow. {_ADVICE}."
        )


def claim_process() -> None:
    """To be called once a model is loaded; raises as `check_process`."""
    check_process()
    if not _owner:
        _owner.append(os.getpid())

"""TensorFlow and forked processes: its threads belong to the process that started them."""

import os

_owner: list[int] = []  # number of the process that made the first session, once there is one
_ADVICE = (
    "Load the model in each process, after the fork: gunicorn without preload_app,"
    ' multiprocessing with the context "spawn"'
)


def check_process() -> None:
    """To be called before TensorFlow runs something.

    Raises:
        RuntimeError: this process was forked from one that had used TensorFlow, which would wait
            for ever for threads that only the other process has.
    """
    if _owner and _owner[0] != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} was forked from process {_owner[0]} after that had used"
            f" TensorFlow (to load a model, train or convert), and cannot use it. {_ADVICE}."
        )


def claim_process() -> None:
    """To be called when a session is made; raises as `check_process`."""
    check_process()
    if not _owner:
        _owner.append(os.getpid())

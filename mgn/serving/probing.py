"""Whether a served model is the one that a threshold was made for."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mgn.config.threshold import Threshold
from mgn.data import probe
from mgn.system.errors import InputError


def check_served(threshold: Threshold, embed: Callable[[Path], np.ndarray]) -> None:
    """Raise `InputError` unless a threshold was made for this model; see `probe.check_model`.

    A server tells no hash of its model, so it is asked for the embedding of the probe. `embed`
    takes a file to its embedding, float32 [D]; see `remote.connect`.
    """

    def seen() -> np.ndarray | None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "probe.png"
            probe.write(path)
            try:
                return embed(path)
            except InputError:  # it takes images of one size alone
                return None

    probe.check_model(threshold, None, seen)

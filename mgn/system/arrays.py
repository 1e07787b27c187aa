"""`.npz` files of arrays, which say of which kind they are."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mgn.system.files import atomic_write

# What numpy raises when a file is damaged or is not one that this program wrote.
BAD_FILE = (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, BadZipFile)


def read_values(path: Path, *formats: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file of one of these formats; raises what `BAD_FILE` has."""
    with np.load(path, allow_pickle=False) as stored:
        values = {name: stored[name] for name in stored.files}
    found = str(values["format"])
    if found not in formats:
        raise ValueError(f"it says {found!r}")
    return values


def write_values(path: Path, values: dict, overwrite: bool = False) -> None:
    """Make an `.npz` file of arrays, under the rules of `atomic_write`."""
    with atomic_write(path, overwrite) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **values)

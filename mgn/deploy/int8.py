"""A target's files in eight bits, with their price in accuracy: as `export.int8` of a `.pb`."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from mgn.deploy.source import Source
from mgn.deploy.target import Choices, Target, described, over_length
from mgn.export import calibration, price
from mgn.inference.embedder import open_exported


def write_int8(
    target: Target, source: Source, paths: Sequence[Path], choices: Choices, what: str
) -> price.Price:
    """Write a target's files, and compare them with the export on images held back.

    Args:
        target: that has `write_int8`.
        source: the plain float32 export.
        paths: temporary, of `Target.files`.
        choices: of the user; `int8` says of which images.
        what: names both in errors.

    Returns:
        how the embeddings of the runtime differ from the export's; the files hold it too.

    Raises:
        InputError: see `calibration.read`.
        CheckError: an image's cosine is below the bound, or a number is not finite.
    """
    how = choices.int8
    images = calibration.read(how.calibration, source.path, how.calibration_images)
    judging = price.resized(images.held_back, source.size)  # as programs feed them
    with closing(open_exported(source.path, rewrite=False)) as embed:
        prepared = np.stack(embed.prepare(images.choosing))
        expected = embed(judging, flip=False)
    kept = target.write_int8(source, paths, choices, prepared)
    got = over_length(target.run(paths, np.stack(judging), choices))
    found = price.between(expected, got)
    price.check(found, how.int8_bound, what)
    about = {"calibration": images.told, "choosing": len(images.choosing), "float": kept}
    description = json.loads(described(source, choices)) | {"int8": about | found._asdict()}
    target.describe(paths, json.dumps(description, sort_keys=True))
    return found

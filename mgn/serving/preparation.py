"""Images as a plain model takes them: resized, normalised, and mirrored too."""

from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from mgn.data.images import mirror, normalise, resize
from mgn.system.session import new_graph, new_session


class PlainImages:
    """The package's preprocessing for one size, mean and deviation."""

    def __init__(self, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]):
        with new_graph().as_default() as graph:
            self._image = tf.placeholder(tf.uint8, [None, None, 3])
            prepared = normalise(resize(self._image, *size), mean, std)
            self._both = tf.stack([prepared, mirror(prepared)])
        self._session = new_session(graph, rewrite=False)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB [H, W, 3] to float32 [2, height, width, 3]: the image and its mirror image."""
        return self._session.run(self._both, {self._image: image})

    def close(self) -> None:
        """Free the session."""
        self._session.close()

"""Features normalised in parts, by hand; the rest of the file is tested through its users."""

import numpy as np
import pytest

from mgn.metrics import distances


def test_parts_of_one_length_by_hand():
    """Two parts of two numbers: 3, 4 has length 5; 0, 0 stays."""
    given = np.float32([[3, 4, 0, -2], [0, 0, 1, 0]])
    made = distances.normalise_parts(given, 2)
    root = 1 / np.sqrt(2)
    expected = [[0.6 * root, 0.8 * root, 0, -root], [0, 0, root, 0]]
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    assert np.linalg.norm(made[0]) == pytest.approx(1)
    np.testing.assert_array_equal(given[0], [3, 4, 0, -2])

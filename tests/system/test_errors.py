"""What errors of libraries are made of."""

import errno

from mgn.system.errors import advice, causes


def test_an_error_that_names_itself_as_its_cause_has_an_end():
    """pymilvus raises `error from error`."""
    first, second = OSError(errno.ENOSPC, "no space"), ValueError("wrapped")
    first.__cause__ = first
    assert causes(first) == [first]
    second.__cause__, first.__cause__ = first, second
    assert causes(second) == [second, first]
    assert advice(second) == "the disk is full; free some space"

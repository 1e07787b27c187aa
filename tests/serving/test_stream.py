"""Many files at once, through functions that are as slow and as strict as a server."""

import threading
import time

import numpy as np
import pytest

from mgn.serving.answers import RefusedError
from mgn.serving.stream import embed_files
from mgn.system.errors import CheckError, InputError


class Joined:
    """Embeds numbers; refuses all calls that are under way together with one for a bad number."""

    def __init__(self, bad=()):
        self.bad, self.calls = bad, []
        self.lock, self.under_way, self.most = threading.Lock(), [], 0

    def __call__(self, number):
        met = [number]
        with self.lock:
            self.calls.append(number)
            for other in self.under_way:
                other.append(number)
                met += other[:1]
            self.under_way.append(met)
            self.most = max(self.most, len(self.under_way))
        time.sleep(0.002 * (1 + number % 5))
        with self.lock:
            self.under_way.remove(met)
        if set(met) & set(self.bad):
            raise RefusedError(f"image {number}: refused")
        return np.float32([number])


def test_results_come_in_order_and_not_too_many_are_under_way():
    embed = Joined()
    got = [(number, float(row[0])) for number, row in embed_files(embed, range(60), at_once=6)]
    assert got == [(number, number) for number in range(60)]
    assert 2 <= embed.most <= 6
    assert sorted(embed.calls) == [*range(60)]


def test_only_those_that_are_refused_alone_are_bad():
    embed = Joined(bad=(7, 8, 30))
    got = dict(embed_files(embed, range(40), at_once=6))
    assert [*got] == [*range(40)]
    refused = [number for number, row in got.items() if isinstance(row, InputError)]
    assert refused == [7, 8, 30]
    assert all(str(got[number]) == f"image {number}: refused" for number in refused)
    assert len(embed.calls) > 43  # others were refused with them, and asked for again


def test_an_image_that_cannot_be_read_is_not_asked_for_again():
    calls = []

    def embed(number):
        calls.append(number)
        if number == 3:
            raise InputError("cannot be read")
        return np.float32([number])

    got = dict(embed_files(embed, range(10)))
    assert [number for number, row in got.items() if isinstance(row, InputError)] == [3]
    assert sorted(calls) == [*range(10)]


def test_results_before_a_failure_are_given():
    def embed(number):
        if number == 20:
            raise CheckError("no answer")
        return np.float32([number])

    done = []
    with pytest.raises(CheckError, match="no answer"):
        for number, _ in embed_files(embed, range(100)):
            done.append(number)
    assert done == [*range(20)]

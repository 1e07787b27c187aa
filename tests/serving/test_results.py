"""Results on the way to a file: kept, resumed, refused."""

import contextlib
import os

import numpy as np
import pytest

from mgn.serving.results import opened_results, part_of
from mgn.system.errors import InputError

ROWS = np.random.default_rng(0).normal(size=(4, 2048)).astype(np.float32)


class StoppedError(Exception):
    """As Ctrl-C or a server that is away."""


@pytest.fixture
def paths(tmp_path):
    """Four files, one with a name that is not valid UTF-8."""
    named = [tmp_path / name for name in ("a.jpg", "b c.jpg", os.fsdecode(b"\xff.jpg"), "d.jpg")]
    for path in named:
        path.write_bytes(b"x")
    return named


@pytest.fixture
def output(tmp_path):
    return tmp_path / "made" / "out.npz"


def stop_after(output, paths, version=3, resume=False):
    """A run of version 3 that keeps the embeddings of these files and then fails."""
    with (
        contextlib.suppress(StoppedError),
        opened_results(output, resume, overwrite=False) as results,
    ):
        results.start("mgn", version, 2048)
        for path in results.missing(paths):
            results.add(path, ROWS[paths.index(path)])
        raise StoppedError


def test_a_run_that_ends_makes_the_file_alone(output, paths):
    with opened_results(output, resume=False, overwrite=False) as results:
        results.start("mgn", 3, 2048)
        assert results.missing([*paths, paths[0]]) == paths
        for path, row in zip(paths, ROWS, strict=True):
            results.add(path, row)
        assert results.finish([*paths[::-1], paths[0]], overwrite=False) == 5
    assert [*output.parent.iterdir()] == [output]
    stored = np.load(output)
    assert sorted(stored) == ["features", "model", "pictures", "version"]
    assert [*stored["pictures"]] == [str(path) for path in (*paths[::-1], paths[0])]
    assert stored["features"].dtype == np.float32
    assert np.array_equal(stored["features"], ROWS[[3, 2, 1, 0, 0]])
    assert stored["model"] == "mgn" and stored["version"] == 3


def test_what_was_kept_is_taken_bit_by_bit(output, paths, caplog):
    caplog.set_level("INFO")
    stop_after(output, paths[:3])
    assert caplog.messages == [f"{part_of(output)}: 3 embeddings are kept; --resume uses them"]
    assert not output.exists()
    with opened_results(output, resume=True, overwrite=False) as results:
        assert (len(results), results.model, results.version) == (3, "mgn", 3)
        results.start("mgn", 3, 2048)
        assert results.missing(paths) == paths[3:]
        results.add(paths[3], ROWS[3])
        results.finish(paths, overwrite=False)
    assert np.array_equal(np.load(output)["features"], ROWS)
    assert not part_of(output).exists()


@pytest.mark.parametrize("cut", [1, 100, 10_000])
def test_a_line_that_was_cut_off_is_done_again(output, paths, cut):
    """As a process leaves it that is killed while it writes."""
    stop_after(output, paths[:3])
    kept = part_of(output) / "results.jsonl"
    contents = kept.read_bytes()
    kept.write_bytes(contents[:-cut])
    stop_after(output, paths[:3], resume=True)
    assert kept.read_bytes() == contents


@pytest.mark.parametrize("damage", [b"\n", b"{}\n", b'{"picture": 1, "embedding": "AAAA"}\n'])
def test_lines_that_are_no_results(output, paths, damage):
    stop_after(output, paths[:2])
    kept = part_of(output) / "results.jsonl"
    contents = kept.read_bytes() + damage
    kept.write_bytes(contents)
    with pytest.raises(InputError, match=r"line 4 is not a result of mgn\.client"):
        stop_after(output, paths, resume=True)
    assert kept.read_bytes() == contents  # nothing is lost
    kept.write_bytes(damage + contents)
    with pytest.raises(InputError, match="line 1 is not a result"):
        stop_after(output, paths, resume=True)


def test_a_file_that_changed_is_missing(output, paths):
    stop_after(output, paths)
    paths[1].write_bytes(b"another")
    with opened_results(output, resume=True, overwrite=False) as results:
        assert results.missing(paths) == [paths[1]]
        results.add(paths[1], ROWS[0])
        results.start("mgn", 3, 2048)
        results.finish(paths, overwrite=False)
    assert np.array_equal(np.load(output)["features"], ROWS[[0, 0, 2, 3]])


def test_another_version_or_model_does_not_go_on(output, paths):
    stop_after(output, paths[:2])
    for model, version in (("mgn", 4), ("other", 3)):
        with (
            pytest.raises(InputError, match=f"2 .*by version 3 of .*version {version} of model"),
            opened_results(output, resume=True, overwrite=False) as results,
        ):
            results.start(model, version, 2048)
    stop_after(output, paths[:2], resume=True)  # and they are still there


def test_vectors_of_another_size_do_not_go_on(output, paths):
    """As of a version that was replaced by one of smaller vectors."""
    stop_after(output, paths[:2])
    opened = opened_results(output, resume=True, overwrite=False)
    told = "has embeddings of 2048 numbers, and this model's have 64; --overwrite starts over"
    with pytest.raises(InputError, match=told), opened as results:
        results.start("mgn", 3, 64)
    with opened_results(output, resume=False, overwrite=True) as results:
        results.start("mgn", 3, 64)
        results.missing(paths)
        results.add(paths[0], ROWS[0][:64])
        results.finish(paths[:1], overwrite=False)
    assert np.array_equal(np.load(output)["features"], ROWS[:1, :64])


def test_nothing_is_replaced_unasked(output, paths):
    stop_after(output, paths[:2])
    opened = opened_results(output, resume=False, overwrite=False)
    with pytest.raises(InputError, match="--resume uses them, --overwrite starts over"), opened:
        pass
    kept = (part_of(output) / "results.jsonl").read_bytes()
    with contextlib.suppress(StoppedError), opened_results(output, False, True):
        raise StoppedError  # before the server answered
    assert (part_of(output) / "results.jsonl").read_bytes() == kept
    with opened_results(output, resume=False, overwrite=True) as results:
        assert len(results) == 0 and results.version is None
        results.start("mgn", 4, 2048)
        results.missing(paths)
        results.add(paths[0], ROWS[0])
        results.finish(paths[:1], overwrite=True)
    opened = opened_results(output, resume=True, overwrite=False)
    with pytest.raises(InputError, match=r"out\.npz exists"), opened:
        pass
    assert np.load(output)["version"] == 4


def test_a_run_without_any_result_leaves_nothing(output, paths):
    stop_after(output, [])
    assert not [*output.parent.iterdir()]
    stop_after(output, paths[:1], resume=True)  # --resume of nothing begins
    assert part_of(output).exists()


def test_two_runs_at_once(output, paths):
    with contextlib.suppress(StoppedError), opened_results(output, False, False) as results:
        results.start("mgn", 3, 2048)
        results.missing(paths)
        results.add(paths[0], ROWS[0])
        for resume, overwrite in ((True, False), (False, True)):
            with (
                pytest.raises(InputError, match="another process is using this folder"),
                opened_results(output, resume, overwrite),
            ):
                pass
        results.add(paths[1], ROWS[1])
        raise StoppedError
    with opened_results(output, resume=True, overwrite=False) as results:
        assert results.missing(paths) == paths[2:]

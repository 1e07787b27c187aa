"""The flags of a store: what they take, and which go together."""

import argparse
import time
from datetime import datetime, timedelta, timezone

import pytest

from mgn import search
from mgn.config import storing

NOON = 1_795_780_800 * 10**9  # 2026-11-27T12:00:00Z


def test_times():
    there = datetime.fromtimestamp(NOON // 10**9, timezone(timedelta(hours=2)))
    assert there.isoformat() == "2026-11-27T14:00:00+02:00"
    for text in ("2026-11-27T12:00", "2026-11-27T12:00:00Z", "2026-11-27T14:00+02:00"):
        assert storing.moment(text) == NOON
    assert storing.moment("2026-11-27") == NOON - 12 * 3600 * 10**9
    assert storing.time_text(NOON) == "2026-11-27T12:00:00Z"
    month = 30 * 24 * 3600
    assert abs(storing.moment("30d") / 1e9 - (time.time() - month)) < 5
    for text in ("", "d", "yesterday", "2026-13-01", "1_0d", "99999999999d", "12:00", "٣d"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a time such as"):
            storing.moment(text)


def test_places_cameras_identities():
    for text in ("gallery.db", "a/b c.db", "http://host:19530", "https://host/name"):
        assert storing.store_place(text) == text
    for text in ("gallery", "gallery.npz", "ftp://host/gallery.db", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=r"neither a name that ends in \.db"):
            storing.store_place(text)
    assert storing.camera_numbers("2,1,2") == (1, 2)
    assert storing.identity("0012") == 12
    for kind, texts in (
        (storing.camera_numbers, ("", "1,", "a", "-1", "1.5", "9999999999")),
        (storing.identity, ("", "-1", "x", "12a", "9999999999")),
    ):
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError):
                kind(text)


def test_which_flags_go_together(tmp_path, capsys):
    model = ["--model", str(tmp_path)]
    gallery, query = ["--gallery", str(tmp_path)], ["--query", str(tmp_path)]
    store = ["--store", "g.db"]
    for arguments, expected in (
        ([*model, *gallery, *query, "--cameras", "1"], "--cameras: only with --store"),
        (["--forget", "12"], "--forget: only with --store"),
        ([*store, *query], "required: --model"),
        ([*model, *query], "required: --gallery"),
        ([*gallery], "required: --model, --query"),
        ([*store], "required: --model"),
        ([*store, *model], "give --gallery to add, --query to search, or --forget"),
        ([*store, *model, *query, "--cache", "c.npz"], "--cache: not with --store"),
        ([*store, "--forget", "1", *query], "--query: not in the same command as --forget"),
        (
            [*store, "--forget", "1", "--index", "exact"],
            "--index: not in the same command as --forget",
        ),
        ([*store, *model, *gallery, "--since", "3d"], "--since: only with --query"),
        (
            [*store, *model, *query, "--since", "2026-01-02", "--until", "2026-01-02"],
            "--until: must be later than --since",
        ),
    ):
        with pytest.raises(SystemExit) as stop:
            search.parse(arguments)
        line = capsys.readouterr().err
        assert stop.value.code == 2 and expected in line and line.count("\n") == 1
    for arguments in (
        [*store, *model, *gallery],
        [*store, *model, *query, "--cameras", "1,2", "--since", "9d", "--until", "2d"],
        [*store, "--index", "approximate"],
        [*store, "--forget", "1", "2", "--forget_image", "a.jpg", "--forget_before", "9d"],
        [*model, *gallery, *query],
    ):
        search.parse(arguments)

"""doc/notebook.md: its cells one after the other, in one namespace."""

import re

import matplotlib as mpl
import numpy as np
import pytest
from blocks import marked
from conftest import run
from PIL import Image

import evaluate
from mgn.data import demo

pytestmark = pytest.mark.usefixtures("shallow_network")


def test_the_cells_as_they_stand(small_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    cells = [block.text for block in marked("cell")]
    assert len(cells) == 5
    demo.make(tmp_path / "runs" / "demo_set")
    given = {}
    for cell in cells:
        exec(cell.replace('"runs/demo"', repr(str(small_checkpoint))), given)
    printed = capsys.readouterr().out
    # The scores are those that the script has of the same model and images.
    flags = "--model", small_checkpoint, "--dataset", "runs/demo_set", "--output_dir", "scores"
    assert run(evaluate, *flags) == 0
    (map_line,) = re.findall(r"^mAP +(\d\S*)", capsys.readouterr().out, re.MULTILINE)
    assert f"mAP {map_line}" in printed
    assert given["distances"].shape == (72, 190)
    expected = np.sort(given["distances"][0])[:5]
    assert np.array_equal(given["distances"][0, given["nearest"]], expected)
    assert Image.open(tmp_path / "runs" / "nearest.png").size == (900, 340)

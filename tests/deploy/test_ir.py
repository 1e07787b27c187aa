"""The processes in which OpenVINO runs."""

import subprocess
import sys

import numpy as np
import pytest

from mgn.deploy import ir
from mgn.system.errors import CheckError


def test_they_load_no_tensorflow():
    """It would take most of the time that a small network takes."""
    code = "import sys; import mgn.deploy.ir; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_damaged_file_is_one_line(tmp_path):
    for path in (tmp_path / "x.pb", tmp_path / "x.xml", tmp_path / "x.bin"):
        path.write_bytes(b"\x0a\xff damaged")
    paths = [tmp_path / "x.xml", tmp_path / "x.bin"]
    with pytest.raises(CheckError, match=r"^OpenVINO: .+") as caught:
        ir.infer(paths, np.zeros([1, 3, 96, 32], np.uint8))
    assert "\n" not in str(caught.value)
    form = ir.Form((96, 32), (0, 0, 0), (1, 1, 1), ("about", "{}"))
    with pytest.raises(CheckError, match=r"^OpenVINO: .+"):
        ir.convert(tmp_path / "x.pb", paths, form)

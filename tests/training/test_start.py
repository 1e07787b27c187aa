"""What a run may start from, named in every way that people name it."""

from types import SimpleNamespace

import pytest

from mgn.config import NetworkOptions, TrainConfig
from mgn.config.variants import VARIANTS
from mgn.system.errors import InputError
from mgn.training import start
from mgn.weights import checkpoints
from mgn.weights.variables import variable_shapes


def settings(path, variant):
    config = TrainConfig(variant=variant, **VARIANTS[variant])
    return SimpleNamespace(config=config, init_checkpoint=path)


@pytest.mark.parametrize("named", ["", "x", "x.index"])
def test_a_checkpoint_without_json_has_the_runs_options(tmp_path, monkeypatch, named):
    """By its folder, its prefix or its file."""
    shapes = variable_shapes(NetworkOptions(0, **VARIANTS["fastreid"]))
    monkeypatch.setattr(checkpoints, "stored_shapes", lambda _: shapes)
    (tmp_path / "x.index").touch()
    found = start.find_start(settings(tmp_path / named, "fastreid"))
    assert found.prefix == tmp_path / "x" and found.options.ibn and found.options.p1_stride == 1
    with pytest.raises(InputError, match="ibn false, but its weights have true"):
        start.find_start(settings(tmp_path / named, "luperson"))

"""Hyper-parameters: ranges, unknown names, recipes."""

import dataclasses

import pytest

from mgn.config import RECIPES, TrainConfig
from mgn.config.recipes import RECIPE_NOTES
from mgn.data.sampling import planned_steps, steps_per_epoch
from mgn.system.errors import InputError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 100),
        ("height", 0),
        ("width", 33),
        ("pool", "median"),
        ("reduction", "gelu"),
        ("optimizer", "lamb"),
        ("precision", "float64"),
        ("batch_ids", 1),
        ("batch_images", 1),
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("label_smoothing", 1.5),
        ("random_erasing", -0.1),
        ("max_steps", 0),
        ("seed", -1),
        ("weight_decay", float("nan")),
        ("momentum", -3.0),
        ("gamma", -1.0),
        ("margin", float("nan")),
        ("triplet_weight", -1.0),
        ("milestones", (0, 5)),
        ("schedule", "linear"),
        ("average_decay", 1.0),
        ("warmup_factor", -0.5),
        ("crop_padding", -1),
        ("triplet_start_loss", -0.1),
        ("triplet_start_loss", 1.5),
        ("color_jitter", 1.5),
        ("freeze_steps", -1),
        ("freeze_layers", ("p1", "p4")),
        ("freeze_layers", ("",)),
        ("early_stop", 3),  # without --eval_every
    ],
)
def test_a_value_out_of_range_names_its_flag(field, value):
    with pytest.raises(InputError, match=f"--{field}"):
        TrainConfig(**{field: value})


def test_unknown_names_are_refused_and_json_round_trips():
    stored = dataclasses.asdict(RECIPES["scratch"])
    assert (
        TrainConfig.from_dict({**stored, "milestones": list(stored["milestones"])})
        == RECIPES["scratch"]
    )
    with pytest.raises(InputError, match="unknown configuration field: batch_id"):
        TrainConfig.from_dict({**stored, "batch_id": 3})
    for name, value in (("batch_ids", "8"), ("milestones", 5), ("height", "96")):
        with pytest.raises(InputError, match="wrong type"):
            TrainConfig.from_dict({**stored, name: value})


def test_recipes_know_their_names_and_budgets():
    assert set(RECIPES) == set(RECIPE_NOTES)
    assert set(RECIPES) == {
        *("demo", "scratch", "paper", "seathiefwang", "lwplw", "strong", "fastreid")
    }
    assert all(config.recipe == name for name, config in RECIPES.items())
    # 400 epochs of 47 steps; 80 passes over 12,936 images in batches of 64
    assert planned_steps(RECIPES["seathiefwang"], 751) == 400 * 47
    assert planned_steps(RECIPES["paper"], 751) == pytest.approx(80 * 12_936 / 64, rel=0.005)
    assert planned_steps(RECIPES["lwplw"], 751) == 400 * 94
    assert planned_steps(RECIPES["strong"], 751) == pytest.approx(
        60 * 202, rel=0.01
    )  # iterations of fast-reid
    assert planned_steps(RECIPES["fastreid"], 751) == pytest.approx(60 * 202, rel=0.01)
    decays = [m * steps_per_epoch(751, 16) for m in RECIPES["paper"].milestones]
    assert decays == pytest.approx([40 * 12_936 / 64, 60 * 12_936 / 64], rel=0.005)

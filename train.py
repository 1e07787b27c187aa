"""Train MGN on a Market-1501 data set, or on the embedded demo set."""

import dataclasses
import sys
from pathlib import Path

from mgn import cli
from mgn.config import (
    OPTIMIZERS,
    POOLS,
    PRECISIONS,
    RECIPE_NOTES,
    RECIPES,
    REDUCTIONS,
    SCHEDULES,
    TrainConfig,
)
from mgn.errors import InputError
from mgn.files import is_unused, next_free
from mgn.runconfig import CONFIG, Began, read_config

CHOICES = {
    "recipe": tuple(RECIPES),
    "optimizer": OPTIMIZERS,
    "pool": POOLS,
    "reduction": REDUCTIONS,
    "precision": PRECISIONS,
    "schedule": SCHEDULES,
}
# When resuming: how long, what is kept, and how it is looked at; not what a step does.
FREE_TO_CHANGE = (
    "max_steps",
    "epochs",
    "eval_every",
    "early_stop",
    "save_every",
    "keep_checkpoints",
    "cache",
)
UNTRAINED = """warning: recipe {} expects pretrained weights and learns little without them; make them with
  python convert_pytorch_weights.py --pt_model_path resnet50.pth --checkpoint pretrained/resnet50
and add --init_checkpoint pretrained/resnet50; or use --recipe scratch"""
OTHER_REPLICAS = "note: the run was on {} replicas and is on {} now: near the same figures, not the same bits"
# What has an effect only with another option: flag, what it goes with, whether that is so.
WITHOUT_EFFECT = (
    ("gamma", "--schedule step", lambda c: c.schedule == "step"),
    ("milestones", "--schedule step", lambda c: c.schedule == "step"),
    ("cosine_start", "--schedule cosine", lambda c: c.schedule == "cosine"),
    ("final_learning_rate", "--schedule cosine", lambda c: c.schedule == "cosine"),
    ("momentum", "--optimizer sgd", lambda c: c.optimizer == "sgd"),
    ("nesterov", "--optimizer sgd", lambda c: c.optimizer == "sgd"),
    ("warmup_factor", "--warmup_steps", lambda c: c.warmup_steps > 0),
    ("margin", "--triplet_weight", lambda c: c.triplet_weight > 0),
    ("triplet_start_step", "--triplet_weight", lambda c: c.triplet_weight > 0),
)


def main(arguments: list[str]) -> int:
    """Parse, check, train, print the tables."""
    flags = parse(arguments)
    began, train_dir = resumed_run(flags) if flags["resume"] else new_run(flags)
    config, start = began.config, began.init_checkpoint
    if config.pretrained and not (start or flags["resume"]):
        print(UNTRAINED.format(config.recipe), file=sys.stderr)
    dataset = cli.checked_dataset(began.dataset, "train")

    from mgn import run
    from mgn.distribution import place
    from mgn.session import describe_devices, has_gpu

    print(describe_devices(), flush=True)
    placement = place(flags["replicas"], config.xla)
    if placement.is_chief and began.replicas not in (None, placement.share.total):
        print(OTHER_REPLICAS.format(began.replicas, placement.share.total), file=sys.stderr)
    if config.sync_batch_norm and placement.share.total == 1:
        print("note: --sync_batch_norm has an effect with several replicas only", file=sys.stderr)
    if config.winograd and has_gpu():
        print("note: --winograd is for CPUs; on GPUs cuDNN chooses such algorithms itself", file=sys.stderr)
    scored = run.train(config, dataset, train_dir, flags["resume"], start, began.fresh_classifier, placement)
    if not placement.is_chief:
        return cli.DONE
    print(f"\nthe run is in {train_dir}: checkpoints, metrics.jsonl, TensorBoard events, results.txt")
    print(f"\n{run.report(scored)}", end="")
    return cli.DONE


def parse(arguments: list[str]) -> dict:
    """Flags as a dictionary; an option that was not given is absent."""
    recipes = "\n".join(f"  {name:<14}{note}" for name, note in RECIPE_NOTES.items())
    parser = cli.Parser(
        "Train MGN (arXiv:1804.01438) on Market-1501, or on the demo set drawn on the spot.",
        epilog=f"recipes, and the Market-1501 result each aims at, without re-ranking:\n{recipes}",
    )
    run = parser.add_argument_group("the run")
    run.add_argument("--dataset", type=cli.existing_path, help="Market-1501 folder; omitted: the demo set")
    run.add_argument("--train_dir", type=Path, help="folder of the run; omitted: the next free runs/RECIPE-N")
    run.add_argument(
        "--init_checkpoint",
        type=cli.model_path,
        help="prefix of converted ImageNet or MGN weights to start from",
    )
    run.add_argument(
        "--fresh_classifier", action="store_true", help="leave its classifiers out: other people"
    )
    run.add_argument(
        "--config",
        type=cli.existing_path,
        help="config.json of another run: its options, data set and start, but for what flags say",
    )
    run.add_argument(
        "--replicas",
        type=cli.positive_int,
        help="copies of the network; omitted: one a GPU (or the CPU's one)",
    )
    run.add_argument("--resume", action="store_true", help="go on with the run in --train_dir, as it began")
    options = parser.add_argument_group("options, each from the recipe unless given")
    cli.add_dataclass_options(options, TrainConfig, CHOICES)
    return vars(parser.parse_args(arguments))


def new_run(flags: dict) -> tuple[Began, Path]:
    """What a fresh run begins with, and its folder."""
    if flags["config"]:
        if "recipe" in flags:
            raise InputError("--recipe: not with --config, which has all options")
        began = read_config(flags["config"])
    else:
        name = flags.get("recipe") or ("seathiefwang" if flags["dataset"] else "demo")
        began = Began(RECIPES[name], None)
    given = {n: flags[n] for n in ("dataset", "init_checkpoint", "fresh_classifier") if flags[n]}
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    config = dataclasses.replace(began.config, **{k: v for k, v in flags.items() if k in fields})
    began = began._replace(config=config, **given)
    for name, other, has_effect in WITHOUT_EFFECT:
        if name in flags and not has_effect(config):
            print(f"note: --{name} has an effect with {other} only", file=sys.stderr)
    if began.fresh_classifier and not began.init_checkpoint:
        raise InputError("--fresh_classifier: goes with --init_checkpoint")
    train_dir = flags["train_dir"] or next_free(Path("runs"), config.recipe)
    if not is_unused(train_dir):
        raise InputError(
            f"--train_dir {train_dir} is not empty: add --resume to go on, or name another folder"
        )
    return began, train_dir


def resumed_run(flags: dict) -> tuple[Began, Path]:
    """The same of the run in --train_dir; only its length, and where its data set lies, may differ."""
    if flags["train_dir"] is None:
        raise InputError("--resume: name the run with --train_dir")
    for name in ("init_checkpoint", "fresh_classifier", "config"):
        if flags[name]:
            raise InputError(f"--{name}: a run that is resumed has its weights and options; leave it out")
    began = read_config(flags["train_dir"] / CONFIG)
    config = began.config
    changed = {n: flags[n] for n in vars(config) if n in flags and flags[n] != getattr(config, n)}
    # A cosine ends with the epochs: more of them are another schedule.
    free = set(FREE_TO_CHANGE) - ({"epochs"} if config.schedule == "cosine" else set())
    if conflicts := [n for n in changed if n not in free]:
        said = "; ".join(f"--{n} {changed[n]}: the run began with {getattr(config, n)}" for n in conflicts)
        raise InputError(f"{said}; leave {' and '.join(f'--{n}' for n in conflicts)} out")
    config, dataset = dataclasses.replace(config, **changed), flags["dataset"] or began.dataset
    return began._replace(config=config, dataset=dataset), flags["train_dir"]


if __name__ == "__main__":
    sys.exit(cli.run(main))

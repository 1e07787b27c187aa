"""Train MGN on a Market-1501 data set, or on the embedded demo set."""

import dataclasses
import os
import sys
from pathlib import Path

from mgn import cli
from mgn.config import POOLS, RECIPE_NOTES, RECIPES, REDUCTIONS, TrainConfig
from mgn.errors import InputError
from mgn.files import next_free, read_json, write_json

CHOICES = {
    "recipe": tuple(RECIPES),
    "optimizer": ("sgd", "adam", "amsgrad"),
    "pool": POOLS,
    "reduction": REDUCTIONS,
    "precision": ("float32",),
}


def main(arguments: list[str]) -> int:
    """Parse, check, train, print the table."""
    flags = parse(arguments)
    run = resumed_run(flags) if flags["resume"] else new_run(flags)
    if run["config"].pretrained and not (run["init_checkpoint"] or flags["resume"]):
        print(
            f"warning: recipe {run['config'].recipe} expects pretrained weights, and learns little without;"
            " make them with: python convert_pytorch_weights.py --pt_model_path resnet50.pth --checkpoint"
            " pretrained/resnet50, then add --init_checkpoint pretrained/resnet50; or use --recipe scratch",
            file=sys.stderr,
        )
    dataset = cli.checked_dataset(run["dataset"], "train")
    if not flags["resume"]:
        record_run(run, dataset)
    return train_and_report(run, dataset, flags)


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
    run.add_argument("--init_checkpoint", help="prefix of converted ImageNet or MGN weights to start from")
    run.add_argument(
        "--fresh_classifier", action="store_true", help="leave its classifiers out: other people"
    )
    run.add_argument("--resume", action="store_true", help="go on with the run in --train_dir, as it began")
    options = parser.add_argument_group("options, each from the recipe unless given")
    cli.add_dataclass_options(options, TrainConfig, CHOICES)
    return vars(parser.parse_args(arguments))


def new_run(flags: dict) -> dict:
    """Configuration of a fresh run, in a folder that is empty or not there yet."""
    name = flags.get("recipe") or ("seathiefwang" if flags["dataset"] else "demo")
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    config = dataclasses.replace(RECIPES[name], **{k: v for k, v in flags.items() if k in fields})
    train_dir = flags["train_dir"] or next_free(Path("runs"), name)
    if train_dir.exists() and (not train_dir.is_dir() or any(train_dir.iterdir())):
        raise InputError(
            f"--train_dir {train_dir} is not empty: add --resume to go on, or name another folder"
        )
    start = flags["init_checkpoint"]
    if start and not (Path(start).is_dir() or Path(f"{start}.index").is_file()):
        raise InputError(f"--init_checkpoint {start}: no such checkpoint ({start}.index is not there)")
    return {"config": config, "train_dir": train_dir, "dataset": flags["dataset"], "init_checkpoint": start}


def resumed_run(flags: dict) -> dict:
    """Configuration of the run in --train_dir; only --max_steps may differ from how it began."""
    train_dir = flags["train_dir"]
    if train_dir is None:
        raise InputError("--resume: name the run with --train_dir")
    record = train_dir / "config.json"
    if not record.is_file():
        raise InputError(f"--resume: {record} is not there, so there is no run to go on with")
    stored = read_json(record)
    dataset, init_checkpoint = stored.pop("dataset", None), stored.pop("init_checkpoint", None)
    config = TrainConfig.from_dict(stored)
    for name, value in vars(config).items():
        if name in flags and flags[name] != value and name != "max_steps":
            raise InputError(
                f"--{name} {flags[name]}: the run in {train_dir} began with {value}; leave it out"
            )
    config = dataclasses.replace(config, max_steps=flags.get("max_steps", config.max_steps))
    return {
        "config": config,
        "train_dir": train_dir,
        "dataset": flags["dataset"] or Path(dataset),
        "init_checkpoint": init_checkpoint,
    }


def record_run(run: dict, dataset: Path) -> None:
    """Write config.json: everything that --resume needs."""
    run["train_dir"].mkdir(parents=True, exist_ok=True)
    values = dataclasses.asdict(run["config"])
    values |= {"dataset": os.fspath(dataset.resolve()), "init_checkpoint": run["init_checkpoint"]}
    write_json(run["train_dir"] / "config.json", values)


def train_and_report(run: dict, dataset: Path, flags: dict) -> int:
    """Train, then print one table for each network that was scored."""
    from mgn import evaluation, trainer
    from mgn.session import describe_devices

    print(describe_devices())
    scored = trainer.train(
        run["config"],
        dataset,
        run["train_dir"],
        resume=flags["resume"],
        init_checkpoint=run["init_checkpoint"],
        fresh_classifier=flags["fresh_classifier"],
    )
    for name, scores in scored:
        print(f"\n{name} network\n{evaluation.table(scores)}")
    print(f"\nthe run is in {run['train_dir']}: checkpoints, metrics.jsonl, TensorBoard events")
    for name, scores in scored:
        print(f"{name}: {evaluation.summary_line(scores)}")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(cli.run(main))

"""Train MGN on a Market-1501 data set, or on the embedded demo set."""

import sys
from pathlib import Path

from mgn.config import RECIPES, TrainConfig, parsing
from mgn.config.dataset import add_dataset_options
from mgn.config.recipes import RECIPE_NOTES
from mgn.config.settings import new_run, resumed_run
from mgn.system import cli
from mgn.system.files import output_folder

UNTRAINED = """\
warning: recipe {} expects pretrained weights and learns little without them; make them with
  python convert_pytorch_weights.py --pt_model_path FILE --checkpoint pretrained/resnet50
and add --init_checkpoint pretrained/resnet50; or use --recipe scratch. FILE is torchvision's
  https://download.pytorch.org/models/resnet50-0676ba61.pth"""


def main(arguments: list[str]) -> int:
    """Parse, check, train, print the tables."""
    flags = parse(arguments)
    settings, train_dir = resumed_run(flags) if flags["resume"] else new_run(flags)
    config = settings.config
    if config.pretrained and not (settings.init_checkpoint or flags["resume"]):
        print(UNTRAINED.format(config.recipe), file=sys.stderr)

    from mgn.data.demo import checked_dataset

    datasets = [checked_dataset(dataset, "train") for dataset in settings.datasets or (None,)]
    settings = settings._replace(datasets=tuple(datasets))

    from mgn.system.session import describe_devices
    from mgn.training import run
    from mgn.training.distribution import notes, place

    print(describe_devices(), flush=True)
    placement = place(flags["replicas"], config.xla)
    for note in notes(settings, placement):
        print(f"note: {note}", file=sys.stderr)
    claimed = placement.is_chief and not flags["train_dir"]
    with output_folder(None if claimed else train_dir, config.recipe) as train_dir:
        scored = run.train(settings, train_dir, flags["resume"], placement)
    if placement.is_chief:
        left = "checkpoints, metrics.jsonl, TensorBoard events, results.txt"
        print(f"\nthe run is in {train_dir}: {left}\n\n{run.report(scored)}", end="")
    return cli.DONE


def parse(arguments: list[str]) -> dict:
    """Flags as a dictionary; an option that was not given is absent."""
    recipes = "\n".join(f"  {name:<14}{note}" for name, note in RECIPE_NOTES.items())
    parser = cli.Parser(
        "Train MGN (arXiv:1804.01438) on Market-1501, or on the demo set drawn on the spot."
        " The recipe sets the defaults of group 'model' and those below it (doc/recipes.md).",
        "--dataset Market-1501-v15.09.15 --init_checkpoint pretrained/resnet50",
        epilog=f"recipes, and the Market-1501 result each aims at, without re-ranking:\n{recipes}",
    )
    run = parser.add_argument_group("the run")
    run.add_argument(
        "--dataset",
        type=cli.existing_path,
        action="append",
        default=[],
        help="data set, Market-1501's folder or another (doc/datasets.md); given more than once:"
        " trained on as one set, scored on each (default: the demo set)",
    )
    add_dataset_options(parser, several=True)
    run.add_argument(
        "--train_dir", type=Path, help="folder of the run (default: the next free runs/RECIPE-N)"
    )
    run.add_argument(
        "--init_checkpoint",
        type=cli.model_path,
        help="prefix of converted ImageNet or MGN weights to start from",
    )
    run.add_argument(
        "--fresh_classifier",
        action="store_true",
        help="do not take the classifiers of --init_checkpoint, for other identities",
    )
    run.add_argument(
        "--config",
        type=cli.existing_path,
        help="config.json of another run, to repeat it; flags override what it says",
    )
    run.add_argument(
        "--replicas",
        type=cli.positive_int,
        help="copies of the network (default: one for each GPU, or one on the CPU)",
    )
    run.add_argument(
        "--resume", action="store_true", help="continue the run in --train_dir with its options"
    )
    parsing.add_dataclass_options(parser, TrainConfig, {"recipe": tuple(RECIPES)})
    return vars(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(cli.run(main))

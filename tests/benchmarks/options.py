"""Every option with every other: the scripts over a covering set of their options, two steps each.

    python tests/benchmarks/options.py [--first N]

Each pair of values of two options stands in one row at least. A row is a run of `train.py` on a
tiny data set with training images, query and gallery. One of these runs then goes through
`evaluate.py` and both freezing scripts with their own options. Prints a line a row, and exits with
1 if one fails.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[1]))

from tensorflow.python.framework.config import disable_op_determinism

import evaluate
import export_pb
import export_pb_with_pre_post
import train
from mgn.data import demo
from mgn.data.names import FOLDERS, JUNK, parse_name
from mgn.system import cli

LAYOUTS = ("market1501", "folders", "csv")
TRAIN = {
    "datasets": (1, 2),
    "layout": LAYOUTS,
    "precision": ("float32", "bfloat16", "float16"),
    "optimizer": ("sgd", "adam", "amsgrad"),
    "nesterov": ("false", "true"),
    "schedule": ("step", "cosine"),
    "warmup_steps": (0, 1),
    "average_decay": (0, 0.9),
    "label_smoothing": (0, 0.1),
    "random_erasing": (0, 1),
    "crop_padding": (0, 4),
    "color_jitter": (0, 0.5),
    "variant": ("mgn-pytorch", "fastreid-v0.1", "fastreid", "luperson"),
    "pool": ("avg", "max", "gem", "gem_shared"),
    "reduction": ("relu", "prelu", "plain", "neck"),
    "classifier": ("linear", "cosine"),
    "part_triplets": ("false", "true"),
    "zero_init_residual": ("true", "false"),
    "zero_init_identities": (0, 100),
    "kernel_init": ("he", "uniform"),
    "winograd": ("false", "true"),
    "xla": ("false", "true"),
    "sync_batch_norm": ("false", "true"),
    "deterministic": ("true", "false"),
    "cache": ("false", "true"),
    "eval_every": (0, 1),
    "early_stop": (0, 1),
    "evaluate_untrained": ("false", "true"),
    "replicas": (1, 2),
    "freeze_steps": (0, 1),
    "freeze_layers": ("backbone,p1,p2,p3", "p2"),
    "triplet_weight": (1, 0),
    "triplet_start_step": (0, 1),
    "triplet_start_loss": (0, 0.9),
    "margin": (0.3, "none"),
    "keep_checkpoints": (1, 3),
    "save_every": (1, 500),
}
EVALUATE = {
    "model": ("run", "checkpoint", "plain", "pre_post"),
    "rerank": (False, True),
    "no_flip": (False, True),
    "skip_unreadable": (False, True),
    "features": (False, True),
    "lists": ("dataset", "query and gallery"),
    "layout": LAYOUTS,
    "distractors": (False, True),
    "single_gallery_shot": (False, True),
    "normalise": ("whole", "parts"),
    "max_false_matches": (None, 0.5),
    "sizes": (False, True),
}
FREEZE = {
    "form": ("plain", "pre_post"),
    "precision": ("float32", "bfloat16", "float16", "int8"),
    "winograd": (False, True),  # not with int8
    "keep_float": (0, 3),  # with int8
    "input": ("float32", "uint8", "jpeg"),
    "input_size": (None, "64x30"),
    "checkpoint": ("run", "prefix"),
    "reduce_to": (None, "PCA 8", "heads of parts"),
}
STEPS = 2


def covering(options: Mapping[str, Sequence]) -> list[dict]:
    """Rows {option: value} such that any two values of two options stand together in one of them.

    Greedy: each row takes, option by option, the value that covers most of what is left.
    """
    left = set()
    for one, other in itertools.combinations(options, 2):
        for values in itertools.product(options[one], options[other]):
            left.add(((one, values[0]), (other, values[1])))
    rows = []
    while left:
        row = dict(min(left, key=str))  # what is left at last begins a row of its own
        for name in options:
            if name not in row:
                row[name] = max(options[name], key=lambda value: _gain(row, name, value, left))
        left -= _pairs(row, options)
        rows.append({name: row[name] for name in options})
    return rows


def _gain(row: dict, name: str, value: object, left: set) -> int:
    """How many pairs of `left` the row covers more with this value."""
    pairs = 0
    for other in row.items():
        pairs += (other, (name, value)) in left or ((name, value), other) in left
    return pairs


def _pairs(row: dict, options: Mapping) -> set:
    """All pairs of a row, in the order of the options."""
    return set(itertools.combinations([(name, row[name]) for name in options], 2))


def flags_of(row: dict) -> list:
    """A row as flags of `train.py`; without those that it refuses with the others."""
    row = dict(row)
    del row["datasets"], row["layout"]
    if not row["eval_every"]:
        row["early_stop"] = 0
    return list(itertools.chain(*((f"--{name}", value) for name, value in row.items())))


def run(script, arguments: Sequence) -> tuple[int, str]:
    """Exit status and output of a script's main in this process."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            status = cli.run(script.main, [str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            status = stop.code
    return status, output.getvalue()


def train_row(row: dict, datasets: Sequence[Path], train_dir: Path) -> str:
    """Train a row's run; returns what is wrong with it, or ""."""
    size = ["--batch_ids", 2, "--batch_images", 2, "--max_steps", STEPS, "--epochs", 9]
    where = ["--train_dir", train_dir]
    for dataset in datasets[: row["datasets"]]:
        where += ["--dataset", laid_out(dataset, row["layout"])]
    try:
        status, output = run(train, [*where, "--recipe", "scratch", *size, *flags_of(row)])
    finally:
        disable_op_determinism()  # or rows without it would have it too
    if status != 0:
        return f"exit status {status}: {output.strip().splitlines()[-1]}"
    results = train_dir / "results.txt"
    scored = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    if sum(line.startswith("trained") and ": mAP " in line for line in scored) != row["datasets"]:
        return "not scored on each data set"
    written = (train_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [line for line in map(json.loads, written) if "total" in line]
    taken = STEPS - (row["eval_every"] == 1 and row["early_stop"] == 1 and len(lines) < STEPS)
    if len(lines) != taken:
        return f"{len(lines)} steps logged"
    for line in lines:
        for name in ("cross_entropy", "triplet", "total"):
            if line[name] is None or not math.isfinite(line[name]):
                return f"{name} of step {line['step']} is {line[name]}"
    return ""


def freeze_row(row: dict, train_dir: Path, pb_path: Path) -> str:
    """Freeze a run's checkpoint with a row's options; returns what is wrong, or ""."""
    source = train_dir if row["checkpoint"] == "run" else train_dir / f"model.ckpt-{STEPS}"
    arguments = ["--checkpoint", source, "--pb_path", pb_path, "--precision", row["precision"]]
    if row["precision"] == "int8":
        arguments += ["--keep_float", row["keep_float"], "--calibration_images", 6]
    elif row["winograd"]:
        arguments += ["--winograd"]
    script = export_pb
    if row["form"] == "pre_post":
        script = export_pb_with_pre_post
        arguments += ["--input", row["input"]]
        if row["input_size"] and row["input"] != "jpeg":
            arguments += ["--input_size", row["input_size"]]
    if row["reduce_to"]:
        arguments += ["--reduce_to", row["reduce_to"], "--reduce_with", _reductions_of(train_dir)]
    status, output = run(script, arguments)
    if status == 0 and pb_path.is_file():
        return ""
    return f"exit status {status}: {output.strip().splitlines()[-1]}"


def _reductions_of(train_dir: Path) -> Path:
    """The run's `reduction.npz`, made once."""
    folder = train_dir.parent / "sizes"
    if not folder.exists():
        run(evaluate, ["--model", train_dir, "--sizes", "--output_dir", folder])
    return folder / "reduction.npz"


def whole_row(form: str) -> dict:
    """A row of `FREEZE` whose file every row of `EVALUATE` takes: any size, whole vectors."""
    row = {name: values[0] for name, values in FREEZE.items()}
    return row | {"form": form, "input": "uint8"}


def evaluate_row(row: dict, dataset: Path, models: Mapping[str, Path], folder: Path) -> str:
    """Evaluate a model with a row's options; returns what is wrong, or ""."""
    arguments = ["--model", models[row["model"]], "--output_dir", folder / "results"]
    for name in ("rerank", "no_flip", "skip_unreadable", "sizes"):
        arguments += [f"--{name}"] if row[name] else []
    arguments += ["--features", folder / "features.npz"] if row["features"] else []
    arguments += ["--single_gallery_shot", 5] if row["single_gallery_shot"] else []
    arguments += ["--normalise", row["normalise"] or "whole"]
    promise = ["--max_false_matches", row["max_false_matches"], "--confidence", 0.5]
    arguments += promise if row["max_false_matches"] else []
    if row["lists"] == "dataset":
        arguments += ["--dataset", laid_out(dataset, row["layout"])]
        arguments += ["--distractors", strangers(dataset)] if row["distractors"] else []
    else:
        arguments += ["--query", dataset / "query", "--gallery", dataset / "bounding_box_test"]
    status, output = run(evaluate, arguments)
    if status != 0:
        return f"exit status {status}: {output.strip().splitlines()[-1]}"
    metrics = json.loads((folder / "results" / "metrics.json").read_text(encoding="utf-8"))
    if ("single_gallery_shot" in metrics) != row["single_gallery_shot"]:
        return "draws asked for and not made, or the other way round"
    made = {path.name for path in (folder / "results").iterdir()}
    for name, option in (("threshold.json", "max_false_matches"), ("sizes.json", "sizes")):
        if (name in made) != bool(row[option]):
            return f"{name} asked for and not made, or the other way round"
    return "" if 0 < metrics["mAP"] <= 1 else f"mAP {metrics['mAP']}"


def laid_out(dataset: Path, layout: str) -> Path:
    """The same images in another layout, in a folder beside them."""
    made = dataset.with_name(f"{dataset.name}_{layout}")
    if layout == "market1501" or made.exists():
        return dataset if layout == "market1501" else made
    made.mkdir()
    for split, name in FOLDERS.items():
        lines = ["path,person,camera"]
        for file in sorted((dataset / name).iterdir()):
            person, camera = parse_name(file.name)
            lines.append(f"{file},{person},{camera}")
            if layout == "folders" and person != JUNK:
                place = made / split / f"{person:04}"
                place.mkdir(parents=True, exist_ok=True)
                (place / f"cam{camera}_{file.name[8:]}").symlink_to(file)
        if layout == "csv":
            (made / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    return made


def strangers(dataset: Path) -> Path:
    """A folder of images of nobody."""
    made = dataset.with_name(f"{dataset.name}_strangers")
    made.mkdir(exist_ok=True)
    for i, file in enumerate(sorted((dataset / "bounding_box_train").iterdir())[:5]):
        shutil.copyfile(file, made / f"stranger{i}.jpg")
    return made


def tiny_sets(folder: Path) -> list[Path]:
    """Two of them, of other people."""
    return [tiny_set(folder / "tiny", 0), tiny_set(folder / "other", 1)]


def tiny_set(whole: Path, seed: int) -> Path:
    """A drawn set of 5 training identities, with a few of the images only."""
    demo.make(whole, seed, train_identities=5)
    kept = {"bounding_box_train": 5, "query": 6, "bounding_box_test": 9}
    for name, identities in kept.items():
        first = 1 if name == "bounding_box_train" else 6
        people = [f"{person:04d}_" for person in range(first, first + identities)]
        for path in sorted((whole / name).iterdir()):
            if path.name[:5] not in people and not path.name.startswith("-1_"):
                path.unlink()
    (whole / demo.MARKER).unlink()
    return whole


def _rows(first: int | None) -> Iterator[tuple[str, dict, str]]:
    """Run everything; yields (script, row, what is wrong)."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        datasets = tiny_sets(folder)
        kept = folder / "kept"
        for row in covering(TRAIN)[:first]:
            train_dir = folder / "run"
            yield "train.py", row, train_row(row, datasets, train_dir)
            usable = (train_dir / f"model.ckpt-{STEPS}.index").is_file()
            if usable and not kept.exists():
                train_dir.rename(kept)
            shutil.rmtree(train_dir, ignore_errors=True)
        models = {"run": kept, "checkpoint": kept / f"model.ckpt-{STEPS}"}
        for i, row in enumerate(covering(FREEZE)[:first]):
            yield f"freezing {row['form']}", row, freeze_row(row, kept, folder / f"{i}.pb")
        for form in FREEZE["form"]:
            models[form] = folder / f"{form}.pb"
            row = whole_row(form)
            yield f"freezing {form}", row, freeze_row(row, kept, models[form])
        for i, row in enumerate(covering(EVALUATE)[:first]):
            (folder / str(i)).mkdir()
            yield "evaluate.py", row, evaluate_row(row, datasets[0], models, folder / str(i))


def main() -> int:
    """Run all rows, or the first of each script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, help="rows of each script; omitted: all")
    flags = parser.parse_args()
    failed = 0
    began = time.monotonic()
    for script, row, problem in _rows(flags.first):
        now = time.monotonic()
        told = " ".join(f"{name}={value}" for name, value in row.items())
        print(f"{problem or 'done'} ({now - began:.0f} s): {script} {told}", flush=True)
        failed += bool(problem)
        began = now
    print(f"{failed} rows failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

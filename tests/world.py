"""A folder in which the commands of the pages run as they stand: small files of the same names."""

import contextlib
import itertools
import os
import re
import shlex
import subprocess
from contextlib import closing
from pathlib import Path

import world_files
from blocks import module_of
from conftest import run
from model_server import Model, serving_grpc, serving_rest

from mgn import inference
from mgn.inference import embedder

MARKET = "Market-1501-v15.09.15"
# What is changed in a command before it runs. All the rest is as on the page.
CHANGED = (
    (r"\btrain\.py .*", r"\g<0> --max_steps 1 --batch_ids 2 --batch_images 2"),
    (r"\b(train\.py|convert_\S+ .*--checkpoint converted/).*", r"\g<0> --height 96 --width 32"),
    (r"--max_false_matches 0\.01\b", "--max_false_matches 0.5"),  # of 20 people
    (r"--embedding_size 256\b", "--embedding_size 32"),  # of 44 gallery images
)
# Commands that may exit with 1, and why.
MAY_FAIL = (r"mgn\.doctor \S+ .*--model ",)  # a camera's images are unlike those of training
# What a page takes as there, in the order in which it is looked for: drawn sets (seed), ...
SETS = {MARKET: 1, "DIR": 1, "market": 2, "duke": 3}
TRAIN_ONLY = ("market", "duke")  # not scored
FOLDERS = ("crops", "pictures", "photographs", "images", "my/queries")  # images alone
IMAGES = ("person.jpg", "somebody.jpg", "one.jpg", "another.jpg")
RUNS = ("runs/old", "runs/new")
# ... and what a command of another page makes, where a script takes another file by that name.
EVALUATE = f"python evaluate.py --dataset {MARKET}"
MADE = {
    "pretrained/resnet50": "python convert_pytorch_weights.py"
    " --pt_model_path resnet50-0676ba61.pth --checkpoint pretrained/resnet50",
    "pretrained/ibn": "python convert_pytorch_weights.py"
    " --pt_model_path resnet50_ibn_a-d9d0bb7b.pth --checkpoint pretrained/ibn",
    "runs/market": f"python train.py --dataset {MARKET}"
    " --init_checkpoint pretrained/resnet50 --train_dir runs/market",
    "mgn.pb": "python export_pb_with_pre_post.py --checkpoint runs/market --pb_path mgn.pb"
    " --input jpeg",
    "mgn.deploy mgn.pb": "python export_pb.py --checkpoint runs/market --pb_path mgn.pb",
    "served/mgn": "python export_tf_serving_with_pre_post.py --pb_path mgn.pb"
    " --export_path served/mgn",
    "runs/features.npz": f"{EVALUATE} --model runs/market --features runs/features.npz",
    "runs/threshold/threshold.json": f"{EVALUATE} --model runs/market --max_false_matches 0.01"
    " --confidence 0.95 --output_dir runs/threshold",
    "runs/sizes/reduction.npz": f"{EVALUATE} --features runs/features.npz --sizes"
    " --output_dir runs/sizes",
    "old.npz": f"{EVALUATE} --model runs/old --features old.npz",
}
SAME = {"runs/demo": "runs/market", "old_gallery.npz": "old.npz"}  # by another name
# Flags whose value is written; some others are so in some scripts.
_WRITTEN = ("--train_dir", "--output_dir", "--output", "--export_path", "--store")


@contextlib.contextmanager
def each_model_once(patches):
    """Load the file of a model once for all commands: it takes a second."""
    load, loaded = embedder.load_embedder, {}

    def once(path, **options):
        if options or not isinstance(path, str | Path):
            return load(path, **options)
        key = Path(path).resolve()
        if key not in loaded:
            loaded[key] = load(path)
            patches.setattr(loaded[key], "close", lambda: None)
        return loaded[key]

    for module in (embedder, inference):
        patches.setattr(module, "load_embedder", once)
    yield
    for model in loaded.values():
        type(model).close(model)


def written_by(words):
    """The names that a command writes."""
    script, flags = script_of(words), set(_WRITTEN)
    if script == "convert_pytorch_weights.py":
        flags.add("--pt_model_path" if "--to_pytorch" in words else "--checkpoint")
    elif script.startswith("export_pb"):
        flags.add("--pb_path")
    elif script == "evaluate.py" and "--model" in words:
        flags.add("--features")
    pairs = itertools.pairwise(words)
    return {value.rstrip("/") for flag, value in pairs if flag in flags}


def script_of(words):
    return words[2] if words[1:2] == ["-m"] else words[1]


def there(path):
    """Whether there is such a file or folder, or a checkpoint of this prefix."""
    return path.exists() or path.with_name(f"{path.name}.index").exists()


def origin(name):
    """Where a file, a folder or a checkpoint is in truth."""
    path = Path(name)
    return (path if path.exists() else path.with_name(f"{path.name}.index")).resolve()


def link(folder, name, target=None):
    """Link a file, a folder or a checkpoint's files of `folder` into the current one."""
    source, target = folder / name, Path(target or name)
    for path in (source, *source.parent.glob(f"{source.name}.*")):
        made = target.with_name(path.name.replace(source.name, target.name, 1))
        if path.exists() and not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            made.symlink_to(path)


class World:
    """The folder. Each page has one of its own in it, in which its commands run in turn."""

    def __init__(self, folder):
        self.folder = folder
        self.files = folder / "files"  # what is drawn or written, not made by a command
        self.ran = {}  # (command, files that it takes): the folder where it ran

    @contextlib.contextmanager
    def inside(self, name):
        """Make a folder the current one."""
        (self.folder / name).mkdir(exist_ok=True)
        before = Path.cwd()
        os.chdir(self.folder / name)
        try:
            yield
        finally:
            os.chdir(before)

    def run(self, words):
        """Run a command in the current folder, or link what it made elsewhere of the same files;
        returns the folder where it ran."""
        command, written = shlex.join(words), written_by(words)
        self.supply(words)
        names = (word.rstrip("/") for word in words[1:])
        taken = [name for name in names if name not in written and there(Path(name))]
        key = command, *map(origin, taken)
        if key in self.ran:
            for name in written:
                link(self.ran[key], name)
            return self.ran[key]
        if words[0] in ("cat", "ls"):
            shell = ["bash", "-c", " ".join(words)]  # with its patterns
            print(subprocess.run(shell, check=True, capture_output=True, text=True).stdout)
            return Path.cwd()
        assert words[0] == "python", f"{command}: no test runs it; say 'Not run ...' beside it"
        with self.served(words) as served:
            status = run_python(served)
        may_fail = any(re.search(pattern, command) for pattern in MAY_FAIL)
        assert status == 0 or (status == 1 and may_fail), command
        self.ran[key] = Path.cwd()
        return self.ran[key]

    @contextlib.contextmanager
    def served(self, words):
        """The words with the address of a server of `served/mgn` in place of the page's."""
        places = [i for i, word in enumerate(words) if word.startswith("localhost:")]
        if not places:
            yield words
            return
        self.put("", "served/mgn")
        newest = max(Path("served/mgn").iterdir(), key=lambda path: int(path.name))
        serve = serving_rest if "--rest" in words else serving_grpc
        with closing(Model(newest)) as model, serve(model) as address:
            yield [*words[: places[0]], address, *words[places[0] + 1 :]]

    def supply(self, words):
        """Put what a command takes into the current folder, but for what is there."""
        script, written = script_of(words), written_by(words)
        for name in (word.rstrip("/") for word in words[1:]):
            if name not in written:
                self.put(script, name)

    def put(self, script, name):
        """Link one file or folder, made before if need be; nothing if its name is not known."""
        if there(Path(name)):
            return
        source = SAME.get(name, name)
        key = f"{script} {source}"
        key = key if key in MADE else source
        if key in MADE:
            with self.inside(f"before {key.replace('/', '-')}"):
                folder = self.run(shlex.split(MADE[key]))
            link(folder, source, name)
        elif self.draws(name):
            link(self.files, name)

    def draws(self, name):
        """Whether this is one of the files that are drawn or written; it is there then."""
        path = self.files / name
        if not there(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in SETS:
                world_files.draw_set(path, SETS[name], name not in TRAIN_ONLY)
            elif name in RUNS:
                world_files.write_run(path)
            elif name in world_files.NAMES:
                world_files.write(name, path)
            elif name in (*FOLDERS, *IMAGES, "my/gallery.csv"):
                self.draws(MARKET)
                world_files.copy_images(path, self.files / MARKET)
        return there(path)


def run_python(words):
    """Run a command of Python in this process, changed as `CHANGED` says; returns its status."""
    command = shlex.join(words)
    for pattern, small in CHANGED:
        command = re.sub(pattern, small, command)
    module, arguments = module_of(shlex.split(command))
    return run(module, *arguments)

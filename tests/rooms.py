"""The rules of the rooms: what is wrong with a tree of the project, as lines of text.

Two pages hold the plan. The architecture page has a table of rooms with what each may import. The
page of files has the files of each room in the order in which they may import one another.
"""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOMS_PAGE = Path("doc") / "architecture.md"
FILES_PAGE = Path("doc") / "files.md"
FACES = {  # what the face of a room hands on: the Python contract, and what belongs to it
    "config": {"NetworkOptions", "RECIPES", "TrainConfig"},
    "network": {"BRANCHES", "HEADS", "Outputs", "mgn"},
    "weights": {"assign", "from_pytorch"},
    "metrics": {"Result", "evaluate", "evaluate_distances", "rerank"},
    "inference": {"Embedder", "load_embedder"},
    "training": {"TrainOps", "build_train_graph"},
}
OUTSIDE = {"metrics": {"numpy", "scipy"}, "config": set()}  # packages that a room may use
STANDARD_LIBRARY_ONLY = ("system/errors", "system/files", "system/cli", "system/signals")
LONGEST = {"train.py": 110, "evaluate.py": 100, "convert_pytorch_weights.py": 100}
LONGEST_FILE = 250
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Import(NamedTuple):
    """One name that a file takes from the package."""

    file: str  # "training/run", of the importing file
    target: str  # "training/trainer"; of a face the room alone
    name: str | None  # None: the module itself


class House(NamedTuple):
    """A tree of the project."""

    root: Path
    trees: dict[str, ast.Module]  # "training/run" -> its code; a face is "training/__init__"
    order: list[str]  # files from top to bottom, as the page of files lists them
    allowed: dict[str, set[str]]  # room -> rooms that it may import
    imports: list[Import]


def read_house(root):
    """Parse the package and its plan."""
    package = root / "mgn"
    trees = {}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).with_suffix("").as_posix()
        trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    page = (root / FILES_PAGE).read_text(encoding="utf-8")
    order = re.findall(r"^\| `mgn/([\w/]+)\.py` \|", page, re.MULTILINE)
    page = (root / ROOMS_PAGE).read_text(encoding="utf-8")
    allowed = {}
    for rooms, may in re.findall(r"^\| ([^|]*`) \|[^|\n]*\| ([^|\n]*) \|$", page, re.MULTILINE):
        for room in re.findall(r"`(\w+)(?:/|\.py)`", rooms):
            allowed[room] = set(may.replace("nothing of mgn", "").split())
    imports = []
    for file, tree in trees.items():
        imports += imports_of(file, tree, trees)
    return House(root, trees, order, allowed, imports)


def imports_of(file, tree, trees):
    """Everything that a file takes from the package, imports inside of functions too."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "mgn":
            continue
        place = "/".join(node.module.split(".")[1:])
        for alias in node.names:
            below = f"{place}/{alias.name}".strip("/")
            if below in trees or f"{below}/__init__" in trees:
                found.append(Import(file, below, None))
            else:
                found.append(Import(file, place, alias.name))
    return found


def room_of(file):
    """The room of a file; a file without one is its own."""
    return file.split("/")[0]


def is_face(file):
    return file.endswith("/__init__")


def rule_page_lists_every_file(house):
    files = {name for name in house.trees if name.split("/")[-1] != "__init__"}
    for name in sorted(files ^ set(house.order)):
        yield f"{FILES_PAGE} and the package differ in {name}"
    if len(house.order) != len(set(house.order)):
        yield f"{FILES_PAGE} lists a file twice"


def rule_imports_are_absolute(house):
    for file, tree in house.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"{file}: a relative import"
            if isinstance(node, ast.Import) and any(a.name.startswith("mgn") for a in node.names):
                yield f"{file}: say: from mgn import x"


def rule_no_arrow_up_between_rooms(house):
    for file, target, _ in house.imports:
        here, there = room_of(file), room_of(target)
        if here != there and there not in house.allowed.get(here, set()):
            yield f"{file} imports {target}: {here} may not import {there}"


def rule_inside_a_room_only_from_above(house):
    place = {name: i for i, name in enumerate(house.order)}
    for file, target, _ in house.imports:
        if room_of(file) != room_of(target) or is_face(file) or target not in place:
            continue
        if place[target] >= place.get(file, -1):
            yield f"{file} imports {target} from below"


def rule_no_circle_of_files(house):
    arrows = {}
    for file, target, _ in house.imports:
        target = target if target in house.trees else f"{target}/__init__"
        arrows.setdefault(file, set()).add(target)
    left = set(arrows)
    while left:  # take away what imports nothing that is left
        free = {file for file in left if not arrows[file] & left}
        if not free:
            yield f"a circle among {', '.join(sorted(left))}"
            return
        left -= free


def rule_nobody_imports_the_face_of_its_own_room(house):
    for file, target, _ in house.imports:
        if not is_face(file) and "/" in file and target == room_of(file):
            yield f"{file} imports the face of its own room"


def rule_no_private_names_of_other_files(house):
    for file, target, name in house.imports:
        if name and name.startswith("_"):
            yield f"{file} imports {name} of {target}"
    for file, tree in house.trees.items():
        modules = {i.target.split("/")[-1] for i in house.imports if i.file == file and not i.name}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
                continue
            if node.attr.startswith("_") and node.value.id in modules:
                yield f"{file} uses {node.value.id}.{node.attr}"


def rule_faces_hand_on_the_contract(house):
    for file, tree in house.trees.items():
        if not is_face(file):
            continue
        room = room_of(file)
        names = set()
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = set(ast.literal_eval(node.value))
        if names != FACES.get(room, set()):
            yield f"the face of {room} hands on {sorted(names)}"
        if room not in FACES and len(tree.body) > 1:
            yield f"the face of {room} holds more than its docstring"
        if not ast.get_docstring(tree):
            yield f"the face of {room} does not say what the room is for"


def rule_rooms_use_only_their_packages(house):
    for file, tree in house.trees.items():
        room = room_of(file)
        if room not in OUTSIDE and file not in STANDARD_LIBRARY_ONLY:
            continue
        for package in packages_of(tree):
            known = package == "mgn" or package in sys.stdlib_module_names
            if not known and package not in OUTSIDE.get(room, set()):
                yield f"{file} imports {package}"


def packages_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "mgn").split(".")[0]


def rule_only_layers_makes_variables(house):
    for file, tree in house.trees.items():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if "get_variable" in used and file != "network/layers":
            yield f"{file} calls get_variable"


def rule_only_session_makes_graphs(house):
    """One made elsewhere has no seed, and cannot be built in a process with `--deterministic`."""
    for file, tree in house.trees.items():
        made = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        names = {func.attr for func in made if isinstance(func, ast.Attribute)}
        if "Graph" in names and file != "system/session":
            yield f"{file} makes a graph"


def rule_no_comprehension_inside_another(house):
    for file, tree in house.trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, COMPREHENSIONS):
                continue
            if any(
                isinstance(inner, COMPREHENSIONS) for inner in ast.walk(node) if inner is not node
            ):
                yield f"{file}, line {node.lineno}: a comprehension inside a comprehension"


def rule_files_and_scripts_are_short(house):
    longest = {f"mgn/{name}.py": LONGEST_FILE for name in house.trees} | LONGEST
    for name, most in longest.items():
        lines = len((house.root / name).read_text(encoding="utf-8").splitlines())
        if lines > most:
            yield f"{name} has {lines} lines, more than {most}"


def rule_tests_mirror_the_rooms(house):
    rooms = {room_of(name) for name in house.trees if "/" in name}
    tests = house.root / "tests"
    for path in sorted(tests.rglob("test_*.py")):
        folder = path.parent.relative_to(tests).as_posix()
        name = f"{folder}/{path.stem.removeprefix('test_')}"
        if room_of(name) in rooms and name not in house.trees and name not in NOT_MIRRORED:
            yield f"{path.relative_to(house.root)} tests no file of its name"


NOT_MIRRORED = ()
RULES = [value for name, value in sorted(globals().items()) if name.startswith("rule_")]

"""The one network in what a PyTorch file holds, whatever is wrapped around it."""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import torch

from mgn.system.errors import InputError
from mgn.weights import families

_TRAINED, _FOLLOWING = "encoder_q", "encoder_k"  # MoCo's two networks (arXiv:1911.05722)
_INNER = re.compile(r"(?<=\.)(_orig_mod|module)\.")  # of torch.compile, DataParallel
_OF_LOSS = re.compile(r"(^|\.)\w*(criterion|loss)\w*(\.|$)")  # a network in a loss
_TOP = "."  # the name of a network that lies bare in the file
_SHOWN = 10  # names in an error
Tensors = dict[str, torch.Tensor]


class Network(NamedTuple):
    """Where a network lies: in a mapping, below what its keys begin with."""

    mapping: str  # names on the way to it, with dots between; "": the file itself
    root: str  # "" or, for example, "module.student."

    @property
    def name(self) -> str:
        """Both, as `--key` takes it."""
        return ".".join(filter(None, (self.mapping, self.root.rstrip(".")))) or _TOP


def unwrap(path: Path, loaded: object, key: str | None = None) -> Tensors:
    """Find the network of a known family, and make its keys bare.

    It may lie in any mapping or list of others, and its keys may share any beginning. What lies
    beside it in the same mapping is kept under its own name, without what both begin with.

    Args:
        path: of the file, for errors.
        loaded: what is in it.
        key: a network's name or some components of it; only what belongs to it is kept.

    Returns:
        {key: tensor}; of a file without a known network, its largest mapping as it is.

    Raises:
        InputError: no tensors, more than one network, none of that name, or the same key with and
            without the shared beginning.
    """
    mappings = _mappings(loaded)
    if not mappings:
        there = ", ".join(map(str, [*loaded][:5])) if isinstance(loaded, Mapping) else ""
        held = f"it holds {there or 'nothing'}"
        raise InputError(f"{path}: no weights in it ({held}); name a file with a state_dict")
    networks = []
    for name, tensors in mappings.items():
        networks += [Network(name, root) for root in families.roots(tensors)]
    chosen = _choose(path, networks, key)
    if chosen is None:  # what it is instead, its keys tell
        return max(mappings.values(), key=len)
    tensors = mappings[chosen.mapping]
    roots = [network.root for network in networks if network.mapping == chosen.mapping]
    inner = tuple(root for root in roots if root != chosen.root and root.startswith(chosen.root))
    bare, beside = {}, {}
    for name, tensor in tensors.items():
        if name.startswith(chosen.root) and not name.startswith(inner):
            bare[name.removeprefix(chosen.root)] = tensor
        else:
            beside[_without_shared(name, chosen.root)] = tensor
    if key:
        return bare
    twice = sorted(bare.keys() & beside.keys())
    if twice:
        problem = f"{path}: has {twice[0]} both under {chosen.root.rstrip('.')} and beside it"
        raise InputError(f"{problem}; --key {chosen.name} takes only the first")
    return bare | beside


def _mappings(loaded: object) -> dict[str, Tensors]:
    """{name: its tensors} of all mappings that hold tensors under names, the outermost first."""
    found: dict[str, Tensors] = {}
    seen: dict[int, Tensors] = {}
    waiting = deque([("", loaded)])
    while waiting:
        name, value = waiting.popleft()
        inside = [] if id(value) in seen else _named(value)  # once: it may hold itself
        tensors = seen.setdefault(id(value), {})
        for key, inner in inside:
            if isinstance(inner, torch.Tensor):
                tensors[key] = inner
            else:
                waiting.append((f"{name}.{key}" if name else key, inner))
        if tensors:
            while name in found:  # {"a.b": ...} beside {"a": {"b": ...}}
                name += "'"
            found[name] = _without_inner(tensors)
    return found


def _without_inner(tensors: Tensors) -> Tensors:
    """The same without wrappings in the middle of keys: of a part that was compiled, say."""
    bare = {_INNER.sub("", key): value for key, value in tensors.items()}
    return bare if len(bare) == len(tensors) else tensors


def _named(value: object) -> list[tuple[str, object]]:
    """What a mapping holds under names, or a list of mappings by number."""
    if isinstance(value, Mapping):  # an optimiser's tensors lie under numbers
        return [(key, inner) for key, inner in value.items() if isinstance(key, str)]
    if isinstance(value, list | tuple):
        holders = Mapping | list | tuple
        return [(str(i), inner) for i, inner in enumerate(value) if isinstance(inner, holders)]
    return []


def _choose(path: Path, networks: Sequence[Network], key: str | None) -> Network | None:
    """The network that is meant; None: the file has none that is known."""
    fitting = [network for network in networks if not _OF_LOSS.search(network.name)]
    if key:
        key = key.strip(".") or _TOP
        exact = [network for network in networks if network.name == key]
        fitting = exact or [n for n in networks if f".{key}." in f".{n.name}."]
        if not fitting:
            there = _listed(networks) or "none that is known"
            raise InputError(f"--key {key}: {path} has no such network; it has {there}")
    names = {network.name for network in fitting}
    following = {n for n in names if n.endswith(_FOLLOWING)}
    following = {n for n in following if n.removesuffix(_FOLLOWING) + _TRAINED in names}
    fitting = [network for network in fitting if network.name not in following]
    if len(fitting) > 1:
        full = [network.name for network in fitting]
        problem = f"{path}: holds more than one network, {_listed(fitting)}"
        raise InputError(f"{problem}; choose one, such as --key {full[0]}", networks=full)
    return fitting[0] if fitting else None


def _listed(networks: Sequence[Network]) -> str:
    names = [network.name for network in networks[:_SHOWN]]
    shown = ", ".join(f"{_TOP} (bare)" if name == _TOP else name for name in names)
    return f"{shown}, ..." if len(networks) > _SHOWN else shown


def _without_shared(key: str, root: str) -> str:
    """A key without the components that it begins with as `root` does."""
    components = key.split(".")
    pairs = zip(components, root.split("."), strict=False)
    shared = len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])
    return ".".join(components[shared:])

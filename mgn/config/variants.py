"""Which network: its options, and the published networks as sets of them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mgn.system.errors import InputError

HEIGHT, WIDTH = 384, 128  # pixels; arXiv:1804.01438, section 4
# RGB, of images in 0 to 255: ImageNet's, as nearly every MGN was trained with
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
POOLS = ("avg", "max", "gem", "gem_shared")
REDUCTIONS = ("relu", "prelu", "plain", "neck")
CLASSIFIERS = ("linear", "cosine")

_MGN_PYTORCH = {
    "pool": "avg",
    "reduction": "relu",
    "stem_padding": 1,
    "p1_stride": 2,
    "ibn": False,
    "extra_bn": False,
    "mean": MEAN,
    "std": STD,
}
_FASTREID = _MGN_PYTORCH | {"pool": "gem", "reduction": "plain", "p1_stride": 1, "ibn": True}
_LUPERSON = {
    "ibn": False,
    "extra_bn": True,
    "mean": (89.896, 79.2, 80.073),
    "std": (63.872, 64.305, 63.839),
}
VARIANTS = {  # name -> all options that say which network it is
    "mgn-pytorch": _MGN_PYTORCH,
    "lwplw": _MGN_PYTORCH | {"reduction": "prelu"},
    "fastreid-v0.1": _FASTREID | {"pool": "gem_shared", "reduction": "neck"},
    "fastreid-v1.0": _FASTREID | {"stem_padding": 0},
    "fastreid": _FASTREID | {"stem_padding": 0},  # as v1.0, under other keys
    "luperson": _FASTREID | _LUPERSON,
}
ASKS_PADDING = "fastreid-v1.0"  # its name stands for both: its code changed on 2020-11-06
FIELDS = tuple(_MGN_PYTORCH)  # the names of those options
_ARCHITECTURE = (*FIELDS[:-2], "classifier")  # what shapes the graph
# What a description without it has: older than the other variants.
_LATER = {name: _MGN_PYTORCH[name] for name in FIELDS if name not in ("pool", "reduction")}
_LATER |= {"classifier": "linear", "variant": "mgn-pytorch"}


@dataclass(frozen=True)
class NetworkOptions:
    """What a checkpoint's weights are for; stored beside each one, in `PREFIX.json`.

    Each field's meaning is in its help text in `TrainConfig`.
    """

    num_classes: int  # 0: without classifiers
    pool: str = "avg"
    reduction: str = "relu"
    height: int = HEIGHT
    width: int = WIDTH
    stem_padding: int = 1
    p1_stride: int = 2
    ibn: bool = False
    extra_bn: bool = False
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    classifier: str = "linear"
    # Whose keys a PyTorch file of it has; the same network may have several names.
    variant: str = dataclasses.field(default="mgn-pytorch", compare=False)

    def __post_init__(self):
        """Raise `InputError` unless a network can be built with these options."""
        object.__setattr__(self, "mean", tuple(self.mean))  # JSON brings a list
        object.__setattr__(self, "std", tuple(self.std))
        check_network(self)

    def architecture(self) -> dict[str, Any]:
        """What shapes the graph of `network.mgn`, by the names of its arguments."""
        return {name: getattr(self, name) for name in _ARCHITECTURE}


def check_network(options: Any) -> None:
    """Raise `InputError` unless a network can be built with `NetworkOptions` or `TrainConfig`."""
    height, width = options.height, options.width
    if height < 96 or height % 96:
        raise InputError(f"--height {height}: must be a multiple of 96; use 96, 192, 288 or 384")
    if width < 32 or width % 32:
        raise InputError(f"--width {width}: must be a multiple of 32; use 32, 64, 96 or 128")
    allowed = {
        "pool": POOLS,
        "reduction": REDUCTIONS,
        "stem_padding": (0, 1),
        "p1_stride": (1, 2),
        "classifier": CLASSIFIERS,
        "variant": tuple(VARIANTS),
    }
    for name, values in allowed.items():
        value = getattr(options, name)
        if value not in values:
            raise InputError(f"--{name} {value}: choose one of {', '.join(map(str, values))}")
    check_pixels("--mean", tuple(options.mean))
    check_pixels("--std", tuple(options.std), divides=True)


def check_pixels(label: str, values: tuple[float, ...], divides: bool = False) -> None:
    """Raise `InputError` unless these are a mean, or what divides, of images in 0 to 255.

    A mean of 0 is one, of images that are divided only; a deviation of 0 is none.
    """
    problem = f"{label} {shown_value(values)}"
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise InputError(f"{problem}: must be three numbers from 0 to 255, for R, G and B")
    if divides and min(values) == 0:
        raise InputError(f"{problem}: must be above 0, as images are divided by it")
    of_less = min(values) < 1 if divides else 0 < max(values) < 1
    if of_less:
        scaled = shown_value(tuple(round(value * 255, 3) for value in values))
        raise InputError(f"{problem}: is for images in 0 to 1; for 0 to 255 give {scaled}")


def with_variant(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as given, with those that a named variant stands for; single ones go before it."""
    return {**VARIANTS.get(given.get("variant"), {}), **given}


def kept(options: NetworkOptions) -> dict[str, Any]:
    """The options as a description has them: of MGN-pytorch's network only those of old.

    So the descriptions of plain networks, in exported files too, are what they were.
    """
    values = dataclasses.asdict(options)
    return {name: v for name, v in values.items() if name not in _LATER or v != _LATER[name]}


def options_in(description: Mapping[str, Any]) -> NetworkOptions:
    """The way back from `kept`; other entries are passed over.

    Raises:
        KeyError: an option is missing.
        InputError, TypeError: one has a value that it cannot have.
    """
    values = {**_LATER, **description}
    names = [field.name for field in dataclasses.fields(NetworkOptions)]
    return NetworkOptions(**{name: values[name] for name in names})


def shown_value(value: Any) -> str:
    """An option's value as a flag takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def described(options: NetworkOptions) -> str:
    """The variant by name, and where the network differs from MGN-pytorch's: one line."""
    shown = [f"{options.pool} pooling", f"{options.reduction} heads"]
    if options.stem_padding != 1:
        shown.append("stem pooling without padding")
    if options.p1_stride != 2:
        shown.append("stride 1 in p1")
    if options.ibn:
        shown.append("IBN-a")
    if options.extra_bn:
        shown.append("batch norm before pooling")
    for name, plain in (("mean", MEAN), ("std", STD)):
        values = getattr(options, name)
        if values != plain:
            shown.append(f"{name} {shown_value(values)}")
    return f"{options.variant} ({', '.join(shown)})"

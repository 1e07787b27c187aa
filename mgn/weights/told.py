"""What weights tell of a network's options, by their names and shapes."""

from collections.abc import Callable, Mapping, Sequence

from mgn.config import NetworkOptions
from mgn.config.variants import ASKS_PADDING, CLASSIFIERS, FIELDS, shown_value, with_variant
from mgn.network import BRANCHES, HEADS
from mgn.network.architecture import EXTRA_BN, NECK
from mgn.network.layers import GEM, INSTANCE_NORM
from mgn.system.errors import InputError

_FIRST = HEADS[0].reduction
_IBN = f"backbone/layer1/0/bn1/{INSTANCE_NORM}/weight"
_OTHERS = ("gem", "gem_shared", "neck")  # poolings and ends of heads of other variants alone
Shape = Sequence[int]


def possible(shape_of: Callable[[str], Shape | None]) -> dict[str, tuple]:
    """The values that each option may have; the first is the usual one.

    What weights do not tell at all are `stem_padding`, `p1_stride`, `mean` and `std`.

    Args:
        shape_of: a variable's shape by its name; None where there is no such variable.
    """
    has_bias = shape_of(f"{HEADS[0].classifier}/bias") is not None
    *_, num_classes = shape_of(f"{HEADS[0].classifier}/weight") or (0,)
    found = {
        "num_classes": (num_classes,),
        "classifier": ("linear" if has_bias else "cosine",) if num_classes else CLASSIFIERS,
        "pool": ("avg", "max"),
        "reduction": ("relu", "plain"),
        "ibn": (shape_of(_IBN) is not None,),
        "extra_bn": (shape_of(f"{EXTRA_BN.format(BRANCHES[0].name)}/weight") is not None,),
    }
    shown = (
        (f"{GEM}/p", "pool", "gem_shared"),
        (f"{_FIRST}/{GEM}/p", "pool", "gem"),
        (f"{_FIRST}/2/weight", "reduction", "prelu"),
        (f"{_FIRST}/{NECK}/weight", "reduction", "neck"),
    )
    for variable, option, value in shown:
        if shape_of(variable) is not None:
            found[option] = (value,)
    return found


def shown_variant(told: Mapping[str, tuple]) -> str:
    """What of `possible` MGN-pytorch's network and lwplw's do not have; empty if nothing."""
    shown = [value for value in (*told["pool"], *told["reduction"]) if value in _OTHERS]
    shown += ["IBN-a"] if told["ibn"][0] else []
    shown += ["batch norm before pooling"] if told["extra_bn"][0] else []
    return ", ".join(shown)


def check_told(told: Mapping[str, tuple], given: Mapping[str, object], where: str) -> None:
    """Raise `InputError` unless the command line tells what weights alone do not.

    Args:
        told: of `possible`.
        given: options from the command line, or all of a run.
        where: what an error begins with: "x has no .json beside it, and weights".
    """
    shown = shown_variant(told)
    whole = set(FIELDS) <= set(given)  # all of a run's options
    variant = given.get("variant")
    if shown and not variant and not whole:
        problem = f"{where} with {shown} tell neither the stem's padding nor the mean of images"
        raise InputError(f"{problem}; add --variant, the published network that it is")
    if not shown and "pool" not in given and not variant:
        problem = f"{where} do not tell the pooling"
        raise InputError(f"{problem}; add --pool, or --variant if it is not MGN-pytorch's")
    if variant == ASKS_PADDING and "stem_padding" not in given:
        problem = f"{where} do not tell how its stem is padded: {ASKS_PADDING} stands for both"
        raise InputError(f"{problem}; add --stem_padding 0 or 1")


def check_possible(
    options: NetworkOptions, told: Mapping[str, tuple], where: object, advise: bool = False
) -> None:
    """Raise `InputError` for an option that is none of those that the weights have.

    With `advise` it says which flag would agree.
    """
    for name, values in told.items():
        value = getattr(options, name)
        if value not in values:
            have = " or ".join(map(shown_value, values))
            problem = f"{where}: {name} {shown_value(value)}, but its weights have {have}"
            todo = f"add --{name} {have.split()[0]}, if it was trained so"
            raise InputError(f"{problem}; {todo if advise else 'correct it'}")


def check_agrees(options: NetworkOptions, given: Mapping[str, object], why: str) -> None:
    """Raise `InputError` for an option from the command line that is not that of the network.

    A `variant` stands for all of its options. `why` says what made them: "X was made with".
    """
    for name, value in with_variant(given).items():
        stored = getattr(options, name)
        if name == "variant" or stored == value:
            continue
        problem = f"{why} {name} {shown_value(stored)}"
        if name in given:
            raise InputError(f"--{name} {shown_value(value)}: {problem}; leave it out")
        other = f"{problem}, not {shown_value(value)}; its variant is {options.variant}"
        raise InputError(f"--variant {given['variant']}: {other}")

"""Weights: names here and elsewhere, variables, checkpoints."""

from mgn.weights.variables import assign

__all__ = ["assign", "from_pytorch"]


def __getattr__(name: str) -> object:
    """Import late what knows other people's checkpoints: training has no use for it."""
    if name != "from_pytorch":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from mgn.weights.coverage import from_pytorch

    return from_pytorch

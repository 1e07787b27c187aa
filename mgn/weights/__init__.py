"""Weights: names here and elsewhere, variables, checkpoints."""

from mgn.weights.coverage import from_pytorch
from mgn.weights.variables import assign

__all__ = ["assign", "from_pytorch"]

"""Every option, once; standard library only."""

from mgn.config.options import NetworkOptions, TrainConfig
from mgn.config.recipes import RECIPES

__all__ = ["RECIPES", "NetworkOptions", "TrainConfig"]

"""Every option, once; standard library only."""

from mgn.config.options import TrainConfig
from mgn.config.recipes import RECIPES
from mgn.config.variants import NetworkOptions

__all__ = ["RECIPES", "NetworkOptions", "TrainConfig"]

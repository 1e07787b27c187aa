"""A run: one step, and the loop around it."""

from mgn.training.graph import TrainOps, build_train_graph

__all__ = ["TrainOps", "build_train_graph"]

"""Scores of features; numpy and scipy only."""

from mgn.metrics.ranking import Result, evaluate, evaluate_distances
from mgn.metrics.reranking import rerank

__all__ = ["Result", "evaluate", "evaluate_distances", "rerank"]

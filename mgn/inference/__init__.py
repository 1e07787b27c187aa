"""Any model file as a function of images."""

from mgn.inference.embedder import Embedder, load_embedder

__all__ = ["Embedder", "load_embedder"]

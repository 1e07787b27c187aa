"""The network and its layers."""

from mgn.network.architecture import BRANCHES, HEADS, Outputs, mgn

__all__ = ["BRANCHES", "HEADS", "Outputs", "mgn"]

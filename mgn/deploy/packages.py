"""Packages of other programs, which only their own target needs."""

from types import ModuleType

from mgn.system import packages

REQUIREMENTS = "doc/deploy-requirements.txt"


def needed(name: str) -> ModuleType:
    """See `packages.needed`."""
    return packages.needed(name, REQUIREMENTS)

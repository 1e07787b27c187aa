"""Packages of other programs, which only their own target needs."""

from types import ModuleType

from mgn.system import packages

REQUIREMENTS = "doc/deploy-requirements.txt has all targets' packages"


def needed(name: str) -> ModuleType:
    """See `packages.needed`."""
    return packages.needed(name, REQUIREMENTS)

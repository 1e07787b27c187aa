"""Packages of other programs, which only their own target needs."""

import importlib
from types import ModuleType

from mgn.system.errors import InputError

REQUIREMENTS = "doc/deploy-requirements.txt"


def needed(name: str) -> ModuleType:
    """A package by the name under which Python imports it.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise InputError(
            f"{missing} is not installed: pip install -r {REQUIREMENTS} has all targets' packages"
        ) from None

"""Packages of other programs, which only their own target needs."""

import importlib
from types import ModuleType

from mgn.system.errors import InputError, first_line

REQUIREMENTS = "doc/deploy-requirements.txt"


def needed(name: str) -> ModuleType:
    """A package by the name under which Python imports it.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        problem = f"{error.name or name} is not installed"
    except ImportError as error:
        problem = f"{name} cannot be imported ({first_line(error)})"
    raise InputError(f"{problem}: pip install -r {REQUIREMENTS} has all targets' packages")

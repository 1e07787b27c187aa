"""Packages that only some commands need: imported there, or one line that says how to install."""

import importlib
from types import ModuleType

from mgn.system.errors import InputError, first_line


def needed(name: str, requirements: str) -> ModuleType:
    """A package by the name under which Python imports it.

    Raises:
        InputError: it is not installed; the line names the file of `requirements`.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        problem = f"{error.name or name} is not installed"
    except ImportError as error:
        problem = f"{name} cannot be imported ({first_line(error)})"
    raise InputError(f"{problem}: pip install -r {requirements}")

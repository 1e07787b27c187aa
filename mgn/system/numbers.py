"""Numbers as people write them: Python's `int` also takes "1_2", " 7 " and digits of any script."""

import re

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE | re.ASCII)


def is_digits(text: str) -> bool:
    """Whether a text is digits 0 to 9 and nothing else."""
    return text.isascii() and text.isdigit()


def whole_number(text: str) -> int:
    """The value of digits, with "-" before them if negative; `ValueError` for anything else."""
    if not is_digits(text.removeprefix("-")):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def decimal_number(text: str) -> float:
    """The value of "12", "-0.5" or "2e-4"; `ValueError` for all else, "nan" and "inf" too."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)

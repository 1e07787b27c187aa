"""Numbers in text: those that Python takes and people do not mean are refused."""

import pytest

from mgn.system.numbers import decimal_number, is_digits, whole_number

NO_NUMBERS = ("", "1_2", " 7 ", "٣", "²", "1,5", "0x10", "1e", "nan", "inf", "--1", "1 2", "-")


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("0012", 12), ("-1", -1), ("9" * 30, 10**30 - 1)]
)
def test_whole_numbers(text, value):
    assert whole_number(text) == value
    assert is_digits(text) == (value >= 0)


@pytest.mark.parametrize("text", [*NO_NUMBERS, "+1", "1.0", "1e3"])
def test_what_is_no_whole_number(text):
    with pytest.raises(ValueError, match="is not a whole number"):
        whole_number(text)
    assert not is_digits(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("-0.5", -0.5), (".5", 0.5), ("1.", 1), ("2e-4", 0.0002), ("+1.5E+2", 150)],
)
def test_decimal_numbers(text, value):
    assert decimal_number(text) == value


@pytest.mark.parametrize("text", [*NO_NUMBERS, ".", "e5", "1.2.3"])
def test_what_is_no_decimal_number(text):
    with pytest.raises(ValueError, match="is not a number"):
        decimal_number(text)

"""Names of a user on the screen and in pictures."""

import pytest

from lit_cnn.system.text import printable, shorten, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand a bell\a", r"two\nlines\tand a bell\x07"),
        ("bytes \udcff", r"bytes \udcff"),
        ("\u202eturned", r"\u202eturned"),
        ("猫 $5_$ é שלום", "猫 $5_$ é שלום"),
    ],
)
def test_what_cannot_be_printed_becomes_an_escape(text: str, shown: str):
    assert printable(text) == shown


def test_what_a_font_lacks_becomes_an_escape():
    assert printable("猫a", without="猫") == r"\u732ba"


def test_long_names_lose_their_middle():
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcde…hijk"
    assert shorten("猫猫猫猫", 5) == "猫…猫"
    assert [width(shorten("猫ab" * 50, limit)) <= limit for limit in range(3, 40)] == [True] * 37

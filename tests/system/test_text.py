"""Names of a user on the screen and in pictures."""

import pytest

from lit_cnn.system.text import printable, shorten, shorten_all, told_apart, width


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


def test_names_that_look_the_same_are_told_apart():
    assert told_apart("caf\u00e9", "th\u00e9") == ("caf\u00e9", "th\u00e9")
    assert told_apart("caf\u00e9", "cafe\u0301") == ("'caf\\xe9'", "'cafe\\u0301'")


def test_long_names_lose_their_middle():
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcde…hijk"
    assert shorten("猫猫猫猫", 5) == "猫…猫"
    assert [width(shorten("猫ab" * 50, limit)) <= limit for limit in range(3, 40)] == [True] * 37


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["cat", "dog", "cat"], ["cat", "dog", "cat"]),
        (
            [f"a very long name number {number:02} with much text" for number in (7, 12)],
            ["a very long name nu…07…", "a very long name nu…12…"],
        ),
        (
            ["a" * 12 + "x" * 30 + "b" * 12, "a" * 12 + "y" * 30 + "b" * 12],
            ["aaaaaaaaaa…bbbbbbbbb #1", "aaaaaaaaaa…bbbbbbbbb #2"],
        ),
    ],
)
def test_shortened_texts_differ_as_the_texts_do(texts: list[str], expected: list[str]):
    assert shorten_all(texts, 23) == expected
    assert all(width(text) <= 23 for text in expected)

from __future__ import annotations

import pytest

from django_gearman.text import printable, printable_lines, repr_of, str_of

HOSTILE = [
    ("\n", r"\n"),
    ("\r", r"\r"),
    ("\0", r"\x00"),
    ("\b", r"\x08"),
    ("\x1b[2J", r"\x1b[2J"),
    ("\x7f", r"\x7f"),
    ("\x85", r"\x85"),
    ("\x9b31m", r"\x9b31m"),
    ("\u2028", r"\u2028"),
    ("\u2029", r"\u2029"),
    ("\u202e", r"\u202e"),
    ("\u2066", r"\u2066"),
    ("\ud800", r"\ud800"),
    ("\udcff", r"\xff"),
    ("\U000e0001", r"\U000e0001"),
]


@pytest.mark.parametrize(("character", "shown"), HOSTILE)
def test_what_is_not_shown_is_escaped(character, shown):
    assert printable(f"ä{character}日") == f"ä{shown}日"
    assert str_of(ValueError(character)) == shown
    assert printable(f"ä{character}日").isprintable()


@pytest.mark.parametrize("text", ["", "a b", "naïve 日本 🙂", r"a\nb"])
def test_text_that_is_shown_stays(text):
    assert printable(text) == text


def test_long_text_is_cut():
    assert printable("x" * 3000) == "x" * 2000 + "... (3000 characters)"
    assert printable("x" * 9, 5) == "xxxxx... (9 characters)"
    assert len("".join(printable_lines("line\n" * 100_000))) < 100_000


def test_lines_are_kept_apart_and_escaped():
    assert printable_lines("a\x1b\nb\r\nc") == [r"a\x1b", "b", "c"]


@pytest.mark.parametrize("error", [ValueError, RecursionError, SystemExit, KeyboardInterrupt])
def test_an_object_that_cannot_describe_itself_is_named(error):
    class Broken:
        def __repr__(self) -> str:
            raise error

    assert repr_of(Broken()).endswith(f"Broken: its repr() raised {error.__name__}>")
    assert str_of(Broken()).endswith(f"Broken: its str() raised {error.__name__}>")


def test_a_value_that_contains_itself_to_any_depth_is_named():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    assert "RecursionError" in repr_of(value)

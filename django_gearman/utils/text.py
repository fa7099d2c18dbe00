"""
Text of other people, made safe to show.

Names, errors and handles come from clients, job servers and jobs. Written into a log as they are, a
newline in one of them makes a record that nobody logged, and an escape sequence runs in the reader's
terminal. `printable` shows such characters by their escapes; `repr_of` and `str_of` also survive
objects that cannot describe themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

#: Characters that are shown of one text.
LIMIT = 2000

# Bytes that are no UTF-8, as `surrogateescape` decodes them.
_BYTES = range(0xDC80, 0xDD00)
_CANDIDATE = re.compile(r"[^ -~]")  # most text is printable ASCII


def printable(text: str, limit: int = LIMIT) -> str:
    """
    Return text in one line, with an escape like `\\n` or `\\x1b` for each character that is not shown.

    That is every control and format character, line separators and lone surrogates. More than
    `limit` characters are cut, and the result says how many there were.
    """
    if len(text) > limit:
        return f"{printable(text[:limit])}... ({len(text)} characters)"
    return text if text.isprintable() else _CANDIDATE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable():
        return character
    if ord(character) in _BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def printable_lines(text: str, limit: int = 20 * LIMIT) -> list[str]:
    """Return the lines of a longer text, each printable; the middle of a very long one is left out."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... ({len(text)} characters)\n{text[-half:]}"
    return [printable(line) for line in text.splitlines()]


def repr_of(value: object, limit: int = LIMIT) -> str:
    """Return the `repr` of any object, printable; what fails in there is told instead of raised."""
    return printable(described(repr, value), limit)


def quoted(value: object) -> str:
    """Return the start of an object's `repr`, as a message quotes it."""
    return repr_of(value, 100)


def str_of(value: object, limit: int = LIMIT) -> str:
    """Return the `str` of any object, printable; what fails in there is told instead of raised."""
    return printable(described(str, value), limit)


def described(describe: Callable[[object], str], value: object) -> str:
    """Return what `str` or `repr` say of any object; what fails in there is told instead of raised."""
    try:
        return str.__str__(describe(value))  # it may be a str with ideas of its own
    except BaseException as error:  # noqa: BLE001 - it is not our code
        reason = kind_of(error)
        with suppress(BaseException):
            reason += f": {error}" if f"{error}" else ""
        return f"<{kind_of(value)}: its {describe.__name__}() raised {reason}>"


def kind_of(value: object, *, dotted: bool = False) -> str:
    """Return the name of an object's class, `dotted` with its module unless that is builtins."""
    kind = type(value)
    try:
        if dotted and kind.__module__ != "builtins":
            return f"{kind.__module__}.{kind.__qualname__}"
        return f"{kind.__qualname__}"
    except BaseException:  # noqa: BLE001 - its metaclass is not our code
        return "an object of a class without a name"

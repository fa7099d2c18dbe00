"""
Foreign text, made safe to show.

Names, errors and handles come from clients, job servers and jobs. In a log, an unescaped newline
would forge a record, and an escape sequence would run in the reader's terminal. `printable` escapes
such characters. `repr_of` and `str_of` also handle objects whose `repr` or `str` raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

#: The longest text that is shown, in characters.
LIMIT = 2000

# Bytes that are not UTF-8, as `surrogateescape` decodes them.
_BYTES = range(0xDC80, 0xDD00)
_CANDIDATE = re.compile(r"[^ -~]")  # most text is printable ASCII


def printable(text: str, limit: int = LIMIT) -> str:
    """
    Return text in one line, with an escape like `\n` or `\x1b` for each invisible character.

    These are control and format characters, line separators and lone surrogates. Text above `limit`
    characters is cut, and the result says how many are missing.
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
    """Return the lines of a longer text with escapes; cut the middle of a very long text."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... ({len(text)} characters)\n{text[-half:]}"
    return [printable(line) for line in text.splitlines()]


def repr_of(value: object, limit: int = LIMIT) -> str:
    """Return the `repr` of any object with escapes; an error in it becomes part of the text."""
    return printable(described(repr, value), limit)


def quoted(value: object) -> str:
    """Return the start of an object's `repr`, for a message."""
    return repr_of(value, 100)


def str_of(value: object, limit: int = LIMIT) -> str:
    """Return the `str` of any object with escapes; an error in it becomes part of the text."""
    return printable(described(str, value), limit)


def described(describe: Callable[[object], str], value: object) -> str:
    """Return the `str` or `repr` of any object; an error in it becomes part of the text."""
    try:
        return str.__str__(describe(value))  # it may be a subclass of str
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

"""
Text in columns, for terminals and pipes.

On a terminal, a table fits its width: its columns shrink from right to left, and long cells lose
their start. In a pipe nothing is cut, so that other programs find the whole text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ..utils.text import printable

_GAP = "  "
_CUT = ".."


@dataclass(frozen=True)
class Column:
    """
    A column of a table; numbers stand at its `right`.

    `least` is the width to which the column may shrink; None if it may not.
    """

    title: str
    right: bool = False
    least: int | None = None


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None
) -> list[str]:
    """
    Return the lines of a table: first its head, then one for each row.

    `width` is the number of characters of a terminal line; None for no limit. The text is escaped.
    """
    cells = [
        [column.title for column in columns],
        *([printable(cell) for cell in row] for row in rows),
    ]
    widths = [max(width_of(row[place]) for row in cells) for place in range(len(columns))]
    if width is not None:
        _shrink(columns, widths, width)
    return [_line(columns, row, widths) for row in cells]


def _shrink(columns: Sequence[Column], widths: list[int], width: int) -> None:
    """Make columns narrower, until the table fits."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for place in reversed(range(len(columns))):
        least = columns[place].least
        if least is not None and excess > 0:
            removed = max(0, min(excess, widths[place] - least))
            widths[place] -= removed
            excess -= removed


def _line(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for column, text, width in zip(columns, row, widths, strict=True):
        shown = text if column.least is None else keep_end(text, width)
        space = " " * (width - width_of(shown))
        cells.append(space + shown if column.right else shown + space)
    return _GAP.join(cells).rstrip()


def width_of(text: str) -> int:
    """Return the number of terminal cells of a text: East Asian characters take two."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def keep_start(text: str, width: int | None) -> str:
    """Return the text; if it is wider than this, without its end."""
    return text if width is None else _fit(text, width, start=True)


def keep_end(text: str, width: int | None) -> str:
    """Return the text without its start, if it is wider than this."""
    return text if width is None else _fit(text, width, start=False)


def _fit(text: str, width: int, *, start: bool) -> str:
    if width_of(text) <= width:
        return text
    kept, room = "", width - len(_CUT)
    for character in text if start else reversed(text):
        room -= _cells(character)
        if room < 0:
            break
        kept = kept + character if start else character + kept
    return kept + _CUT if start else _CUT + kept

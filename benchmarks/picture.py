"""The picture: one panel for each of a few figures, a bar for each system, best at the top."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from .names import BULK, DOZES, DRAIN, NAPS, OURS, ROUND_TRIP, SUBMIT
from .results import Figure, Results

_LEFT, _WIDTH, _RIGHT = 190, 420, 90  # of the bars, with room for names and numbers
_BAR, _HEAD, _GAP = 20, 34, 18
_OURS, _OTHER = "#0c6b46", "#b8c4bd"
_PANELS = (ROUND_TRIP, SUBMIT, BULK, DRAIN, NAPS, DOZES)


def write_svg(path: Path, results: Results) -> None:
    """Draw the main figures; each panel has a separate logarithmic scale."""
    lines: list[str] = []
    top = 10
    for title in _PANELS:
        figures = results.of(title)
        if figures:
            lines += _panel(title, _sorted(figures), top)
            top += _HEAD + _BAR * len(figures) + _GAP
    width = _LEFT + _WIDTH + _RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        f'viewBox="0 0 {width} {top}" font-family="sans-serif" font-size="13" fill="#1c2420">'
    )
    background = f'<rect width="{width}" height="{top}" fill="#fff"/>'
    path.write_text("\n".join([head, background, *lines, "</svg>"]) + "\n")


def _sorted(figures: list[Figure]) -> list[Figure]:
    best_is_most = figures[0].unit.endswith("/s")
    return sorted(figures, key=lambda figure: figure.median, reverse=best_is_most)


def _panel(title: str, figures: list[Figure], top: int) -> list[str]:
    better = "more" if figures[0].unit.endswith("/s") else "less"
    lines = [
        f'<text x="10" y="{top + 20}" font-weight="bold">{escape(title)} '
        f"({figures[0].unit}; {better} is better; logarithmic)</text>"
    ]
    least = min(figure.median for figure in figures) / 2
    decades = math.log10(max(figure.median for figure in figures) / least)
    for place, figure in enumerate(figures):
        y = top + _HEAD + place * _BAR
        length = math.log10(figure.median / least) / decades * _WIDTH
        colour = _OURS if figure.system == OURS else _OTHER
        weight = ' font-weight="bold"' if figure.system == OURS else ""
        middle = f'y="{y + 13}"{weight}'
        lines += [
            f'<text x="{_LEFT - 8}" {middle} text-anchor="end">{escape(figure.system)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR - 4}" fill="{colour}"/>',
            f'<text x="{_LEFT + length + 6:.1f}" {middle}>{figure.median:,.0f}</text>',
        ]
    return lines

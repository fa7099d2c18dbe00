"""The table of the curves, in Markdown, and their plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from ..page import warning, write_between
from .curves import Curve

_COLOURS = {"client": "#0c6b46", "workers": "#b4541a", "gearmand": "#3b5b92"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _COLUMNS = 360, 190, 50, 46, 3
_PLOT_WIDTH, _PLOT_HEIGHT, _LABEL = 210, 120, 12


def number(value: float) -> str:
    """Format a cost with two or three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def table(curves: Mapping[str, Curve]) -> str:
    """Return a table: a row for each series, with its cost at each quantity."""
    lines = ["| what grows | CPU of a job, us | |", "|---|---|---|"]
    for curve in curves.values():
        first = f"{curve.over} ({curve.title})"
        for name, points in curve.series.items():
            costs = ", ".join(f"{x:,}: {number(cost)}" for x, cost in points.items())
            lines.append(f"| {first} | {name} | {costs} |")
            first = ""
    return "\n".join(lines)


def write_table(page: Path, curves: Mapping[str, Curve], load: float = 0) -> None:
    """Put the table between its marks in a page; `load` is the load average before the run."""
    write_between(page, "growth", "make bench GROWTH=1", warning(load) + table(curves))


def write_svg(path: Path, curves: Mapping[str, Curve]) -> None:
    """Draw a small plot for each curve; both axes are logarithmic."""
    rows = math.ceil(len(curves) / _COLUMNS)
    width, height = _COLUMNS * _WIDTH, rows * _HEIGHT + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" fill="#1c2420">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for place, curve in enumerate(curves.values()):
        left = place % _COLUMNS * _WIDTH + _LEFT
        lines += _plot(curve, left, place // _COLUMNS * _HEIGHT + _TOP)
    path.write_text("\n".join([*lines, "</svg>"]) + "\n")


def _plot(curve: Curve, left: int, top: int) -> list[str]:
    xs = sorted({x for points in curve.series.values() for x in points})
    costs = [max(cost, 0.1) for points in curve.series.values() for cost in points.values()]
    low, high = 10 ** math.floor(math.log10(min(costs))), 10 ** math.ceil(math.log10(max(costs)))

    def across(x: float) -> float:
        share = math.log(x / xs[0]) / (math.log(xs[-1] / xs[0]) or 1)
        return left + share * _PLOT_WIDTH

    def down(cost: float) -> float:
        share = math.log(max(cost, 0.1) / low) / (math.log(high / low) or 1)
        return top + (1 - share) * _PLOT_HEIGHT

    bottom = top + _PLOT_HEIGHT
    lines = [
        f'<text x="{left}" y="{top - 26}" font-weight="bold">{escape(curve.over)}</text>',
        f'<text x="{left}" y="{top - 12}">{escape(curve.title)}: CPU of a job, us</text>',
        f'<path d="M{left} {top}V{bottom}H{left + _PLOT_WIDTH}" fill="none" stroke="#8a948e"/>',
    ]
    for cost in _decades(low, high):
        y = down(cost)
        lines += [
            f'<path d="M{left} {y:.1f}h{_PLOT_WIDTH}" stroke="#e3e7e5"/>',
            f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{cost:,g}</text>',
        ]
    lines += [
        f'<text x="{across(x):.1f}" y="{bottom + 13}" text-anchor="middle">{_short(x)}</text>'
        for x in xs
    ]
    ends: list[tuple[float, str]] = []
    for name, points in curve.series.items():
        places = [(across(x), down(cost)) for x, cost in points.items()]
        lines.append(_line(name, places))
        ends.append((places[-1][1], name))
    return lines + _labels(ends, left + _PLOT_WIDTH + 5)


def _style(name: str) -> tuple[str, str]:
    """Return the colour of a series, and the dashes of a variant."""
    kind, _, variant = name.partition(" ")
    return _COLOURS[kind], ' stroke-dasharray="4 3"' if variant else ""


def _line(name: str, points: list[tuple[float, float]]) -> str:
    colour, dashes = _style(name)
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dashes}/>'


def _labels(ends: list[tuple[float, str]], left: float) -> list[str]:
    """Write the name of each series beside its end, and none over another one."""
    lines, least = [], -math.inf
    for end, name in sorted(ends):
        y = max(end, least)
        least = y + _LABEL
        lines.append(
            f'<text x="{left}" y="{y + 4:.1f}" fill="{_style(name)[0]}">{escape(name)}</text>'
        )
    return lines


def _decades(low: float, high: float) -> Iterable[float]:
    cost = low
    while cost <= high * 1.001:
        yield cost
        cost *= 10


def _short(x: int) -> str:
    if x >= 1_000_000:
        return f"{x // 1_000_000}M"
    return f"{x // 1000}k" if x >= 1000 else str(x)

"""
Drawings and durations, for the templates of the pages.

Drawings are SVG without `style`, which a strict Content-Security-Policy forbids.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from ....utils import text

register = template.Library()
#: Escapes of invisible characters, in names that anybody may choose.
register.filter("printable", text.printable)

_WIDTH, _HEIGHT = 120, 24


@register.simple_tag
def sparkline(values: Sequence[int | None], label: str) -> SafeString:
    """
    Draw a line of values over time, from 0 up; None is a gap.

    `label` describes the drawing, for screen readers and as a tooltip.
    """
    highest = max((value for value in values if value is not None), default=0)
    step = _WIDTH / max(1, len(values) - 1)
    runs: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            y = _HEIGHT - 2 - (_HEIGHT - 4) * value / max(1, highest)
            runs[-1].append(f"{place * step:.1f},{y:.1f}")
    # A lone point becomes a short line, which is seen.
    lines = [(" ".join(run if len(run) > 1 else run * 2),) for run in runs if run]
    drawn = format_html_join("", '<polyline points="{}"/>', lines)
    return format_html(
        '<svg class="gearman-sparkline" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>",
        _WIDTH,
        _HEIGHT,
        label,
        label,
        drawn,
    )


@register.simple_tag
def bar(part: int, whole: int, label: str) -> SafeString:
    """Draw a part of a whole as a bar; `label` as in `sparkline`."""
    width = 100 * min(part, whole) / whole if whole > 0 else 0
    return format_html(
        '<svg class="gearman-bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><title>{}</title><rect class="gearman-track" width="100" height="8"/>'
        '<rect class="gearman-fill" width="{}" height="8"/></svg>',
        label,
        label,
        f"{width:.1f}",
    )


@register.filter
def breaking(name: str) -> SafeString:
    """Return a dotted name that may be broken after each dot."""
    parts = [(f"{part}.",) for part in name.split(".")]
    parts[-1] = (parts[-1][0][:-1],)
    return format_html_join(mark_safe("<wbr>"), "{}", parts)


@register.filter
def count(number: int) -> str:
    """Return a number with commas."""
    return f"{number:,}"


@register.filter
def duration(seconds: float | None) -> str:
    """Return seconds in two units at most: "30 ms", "1.5 s", "45 s", "3 min 20 s", "2 h 5 min"."""
    if seconds is None:
        return "–"
    if seconds < 0.0005:
        return "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = int(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (lesser, lesser_size) in pairwise(units):
        if whole >= size:
            rest = whole % size // lesser_size
            return f"{whole // size} {name}" + (f" {rest} {lesser}" if rest else "")
    return f"{whole} s"

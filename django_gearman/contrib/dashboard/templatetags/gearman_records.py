"""Times, numbers and histograms for the pages about jobs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from django import template
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ...store.describing import age_of

register = template.Library()

_HEIGHT, _WIDTH, _GAP = 24, 5, 1


@register.filter
def ago(moment: datetime.datetime | None) -> SafeString | str:
    """Return how long ago a time is, or in how long it will be, with the full time under the pointer."""
    if moment is None:
        return "–"
    now = timezone.now()
    is_future = moment > now
    age = age_of(now - (moment - now)) if is_future else age_of(moment)
    age = age.replace(" m", " min")
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        full_time(moment),
        f"in {age}" if is_future else f"{age} ago",
    )


@register.filter
def full_time(moment: datetime.datetime | None) -> str:
    """Return a date and a time with seconds, in the current time zone."""
    if moment is None:
        return "–"
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return str(formats.date_format(local, "j M Y, H:i:s"))


@register.filter
def number(count: int, most: int = 0) -> str:
    """Return a number with commas between thousands; "10,000+" for numbers above `most`."""
    return f"{most:,}+" if most and count > most else f"{count:,}"


@register.simple_tag
def histogram(counts: Sequence[int], label: str) -> SafeString:
    """Draw numbers over time as bars; `label` describes the drawing for screen readers."""
    highest = max([*counts, 1])
    bars = []
    for place, count in enumerate(counts):
        height = f"{max(2.0, _HEIGHT * count / highest):.1f}"
        if count:
            bars.append(f"M{place * (_WIDTH + _GAP)} {_HEIGHT}v-{height}h{_WIDTH}v{height}z")
    return format_html(
        '<svg class="gearman-histogram" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><title>{}</title><path d="{}"/></svg>',
        len(counts) * (_WIDTH + _GAP),
        _HEIGHT,
        label,
        label,
        "".join(bars),
    )

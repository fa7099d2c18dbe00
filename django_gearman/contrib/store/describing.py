"""Records as commands show them."""

from __future__ import annotations

import datetime
import re
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from .attempts import attempts_of, comparable
from .models import JobRecord

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SHOWN = (
    *("id", "name", "queue", "backend", "status", "attempts", "exception", "fingerprint"),
    *("enqueued_at", "started_at", "last_attempted_at", "finished_at", "expires_at"),
    *("worker_ids", "context", "call", "errors"),
)


def as_json(record: JobRecord) -> dict[str, Any]:
    """Return a record as JSON values: all that people may see of it."""
    values = {name: getattr(record, name) for name in _SHOWN}
    return {
        name: value.isoformat() if isinstance(value, datetime.datetime) else value
        for name, value in values.items()
    }


def parse_since(text: str) -> datetime.datetime:
    """
    Return the time in a text like "2h", "2026-11-29" or "2026-11-29T08:00".

    Raises ValueError for other texts. A time without a zone is in the current time zone.
    """
    if found := _DURATION.fullmatch(text):
        try:
            return timezone.now() - datetime.timedelta(seconds=float(found[1]) * _SECONDS[found[2]])
        except OverflowError:
            raise ValueError(f"{text!r} is too long ago") from None
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)) is not None:
            moment = datetime.datetime.combine(day, datetime.time())
    except ValueError:  # the form is right, and there is no such day
        moment = None
    if moment is None:
        raise ValueError(
            f"{text!r} is neither a time like 2026-11-29T08:00 nor an age like 2h or 3d"
        )
    try:
        return comparable(moment)
    except OverflowError:
        raise ValueError(f"{text!r} is too far away") from None


def age_of(moment: datetime.datetime | None) -> str:
    """Return how long ago a time is, in its largest unit."""
    if moment is None:
        return "-"
    seconds = max(0.0, (timezone.now() - moment).total_seconds())
    for unit in "wdhm":
        if seconds >= 2 * _SECONDS[unit] or (unit in "hm" and seconds >= _SECONDS[unit]):
            return f"{seconds // _SECONDS[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"


def details(record: JobRecord) -> list[str]:
    """Return the lines of a record for people."""
    lines = [
        f"{record.name} {record.id}",
        f"  status     {record.status}, {record.attempts} attempts",
        f"  queue      {record.queue}",
        f"  arguments  {record.call or '(not shown)'}",
        f"  context    {record.context or '-'}",
        f"  submitted  {record.enqueued_at or '-'}",
        f"  ended      {record.finished_at or '-'}",
        f"  expires    {record.expires_at or 'never'}",
    ]
    for error in attempts_of(record.errors):
        lines.append(f"  attempt {error.attempt}, {error.at}, {error.worker}:")
        text = error.traceback or error.message
        lines += [f"    {line}" for line in text.splitlines()]
    return lines

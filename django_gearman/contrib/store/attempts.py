"""The errors of a job's attempts, as pages and commands show them."""

from __future__ import annotations

import datetime
import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ...utils.text import described, printable_lines
from .errors import is_library

_FRAME = re.compile(
    r'  (?:[ |+-]*)File "(?P<path>[^"\n]*)", line (?P<line>\d+)(?:, in (?P<name>.*))?'
)
_DAYS = datetime.timedelta(days=2)
_ENTRY = ("exception", "message", "traceback", "attempt", "at", "worker", "seconds")


@dataclass(frozen=True)
class Attempt:
    """The error of an attempt. Each field is a text, whatever the record has."""

    exception: str = ""
    message: str = ""
    traceback: str = ""
    attempt: str = ""
    at: str = ""
    worker: str = ""
    seconds: str = ""

    @property
    def first_line(self) -> str:
        """The first line of the message."""
        return self.message.strip().partition("\n")[0]

    @property
    def time(self) -> datetime.datetime | None:
        """The time of the error; None if the record has no valid one."""
        try:
            moment = parse_datetime(self.at)
            return None if moment is None else comparable(moment)
        except (ValueError, OverflowError):
            return None

    @property
    def duration(self) -> float | None:
        """The seconds of the attempt; None if they are not known."""
        try:
            seconds = float(self.seconds)
        except ValueError:
            return None
        return seconds if 0 <= seconds < math.inf else None


@dataclass(frozen=True)
class Frame:
    """
    A part of a traceback: a place in the code, or text between places.

    `is_own` if it is code of the project. `path` is "" for text.
    """

    text: str
    path: str = ""
    line: int = 0
    function: str = ""
    is_own: bool = True

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line} in {self.function}" if self.path else ""

    @property
    def code(self) -> str:
        """The lines of code below a place, as far to the left as possible."""
        return textwrap.dedent(self.text.partition("\n")[2])


def comparable(moment: datetime.datetime) -> datetime.datetime:
    """
    Return a time that can be compared with those of records: with a time zone if USE_TZ is True.

    Raises OverflowError for times so far away that they do not exist in each time zone.
    """
    _ = moment - _DAYS, moment + _DAYS
    if settings.USE_TZ and timezone.is_naive(moment):
        return timezone.make_aware(moment)
    if not settings.USE_TZ and timezone.is_aware(moment):
        return timezone.make_naive(moment, timezone.get_default_timezone())
    return moment


def attempts_of(errors: Any) -> list[Attempt]:
    """Return the errors of a record, the earliest first. Entries of another form become texts."""
    if not isinstance(errors, list):
        errors = [errors] if errors else []
    return [_attempt(entry) for entry in errors]


def last_attempt(errors: Any) -> Attempt:
    """Return the last error of a record; an empty one if there is none."""
    found = attempts_of(errors[-1:] if isinstance(errors, list) else errors)
    return found[-1] if found else Attempt()


def _attempt(entry: Any) -> Attempt:
    if not isinstance(entry, dict) or not any(name in entry for name in _ENTRY):
        return Attempt(message=_text(entry))
    return Attempt(**{name: _text(entry[name]) for name in _ENTRY if entry.get(name) is not None})


def _text(value: Any) -> str:
    """Return a value as lines without invisible characters."""
    return "\n".join(printable_lines(described(str, value)))


def frames_of(traceback: str) -> list[Frame]:
    """Return the parts of a traceback in their order."""
    return [*_frames(traceback)]


def _frames(traceback: str) -> Iterator[Frame]:
    current: Frame | None = None
    for line in traceback.splitlines():
        found = _FRAME.fullmatch(line)
        if found is not None:
            if current is not None:
                yield current
            path = found["path"]
            number, name = int(found["line"][:9]), found["name"] or ""
            current = Frame(line, path, number, name, is_own=not is_library(path))
        elif current is not None and (not current.path or line.startswith("    ")):
            current = replace(current, text=f"{current.text}\n{line}")
        else:
            if current is not None:
                yield current
            current = Frame(line)
    if current is not None:
        yield current


def last_frame(traceback: str) -> Frame | None:
    """Return the last place of the project's own code in a traceback; the last of all without one."""
    places = [frame for frame in frames_of(traceback) if frame.path]
    own = [frame for frame in places if frame.is_own]
    found = own or places
    return found[-1] if found else None

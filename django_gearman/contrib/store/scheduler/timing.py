"""The times at which a schedule is due: a cron expression in a time zone, or an interval."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import zoneinfo
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from django.utils import timezone

from ....utils.text import quoted

#: Names for usual expressions.
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LEAST_SECONDS, _MOST_SECONDS = 0.1, 10 * 366 * 86400.0


class Timing(ABC):
    """Times in UTC. `words` describes them for people, `digest` names them for programs."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    @property
    def words(self) -> str:
        return self.text

    @abstractmethod
    def times(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        """Yield the times after a moment, in order."""

    def next(self, after: datetime.datetime) -> datetime.datetime | None:
        return next(self.times(after), None)

    def latest(
        self, after: datetime.datetime, until: datetime.datetime
    ) -> datetime.datetime | None:
        """Return the last time after one moment and up to another one; None if there is none."""
        found = None
        for due in self.times(after):
            if due > until:
                break
            found = due
        return found


class Every(Timing):
    """An interval, counted from the Unix epoch: it needs no state, and never drifts."""

    def __init__(self, seconds: object) -> None:
        if isinstance(seconds, datetime.timedelta):
            seconds = seconds.total_seconds()
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(f"every is a number of seconds, not {quoted(seconds)}")
        if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:  # this way round for NaN
            raise ValueError(
                f"every is a number of seconds from {_LEAST_SECONDS:g} to {_MOST_SECONDS:g}, not "
                f"{quoted(seconds)}"
            )
        self._step = datetime.timedelta(microseconds=round(seconds * 1e6))
        super().__init__(f"every {seconds:g} s")

    def times(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        number = (after - _EPOCH) // self._step
        while True:
            number += 1
            yield _EPOCH + number * self._step

    def latest(
        self, after: datetime.datetime, until: datetime.datetime
    ) -> datetime.datetime | None:
        due = _EPOCH + ((until - _EPOCH) // self._step) * self._step
        return due if due > after else None


class Cron(Timing):
    """
    A cron expression of five fields, or one of ALIASES, in a time zone.

    When clocks change, the rules are those of Debian's cron. A fixed time that does not exist on a
    day is due at the next moment that exists. One that comes twice is due once. A minute or hour
    that begins with * is due at each time that exists.
    """

    def __init__(self, expression: object, zone: object = None) -> None:
        if not isinstance(expression, str):
            raise TypeError(f"cron is a string like '0 3 * * *', not {quoted(expression)}")
        given = " ".join(expression.split())
        self._expression = ALIASES.get(given.lower(), given)
        self._zone = find_zone(zone)
        self._check(given)
        super().__init__(f"{self._expression} {self._zone.key}")

    @property
    def words(self) -> str:
        text: str = _cronsim().CronSim(self._expression, _EPOCH).explain()
        return f"{text} ({self._zone.key})"

    def times(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        for due in _cronsim().CronSim(self._expression, after.astimezone(self._zone)):
            # In a repeated hour it begins with times that have passed; two times in one zone would be
            # compared by their clocks' faces.
            if (moment := due.astimezone(datetime.UTC)) > after:
                yield moment

    def _check(self, given: str) -> None:
        module = _cronsim()
        if given.startswith("@") and given.lower() not in ALIASES:
            close = difflib.get_close_matches(given.lower(), ALIASES, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(ALIASES)}"
            raise ValueError(f"cron is {quoted(given)}, which is not a known name{hint}")
        if len(self._expression.split()) != 5:
            raise ValueError(
                f"cron is {quoted(given)}; it must have five fields: minute, hour, day of the month, "
                "month, day of the week. For seconds use every"
            )
        try:
            come = module.CronSim(self._expression, _EPOCH)
        except module.CronSimError as error:
            raise ValueError(f"cron is {quoted(given)}: {error}") from None
        if next(come, None) is None:
            raise ValueError(f"cron is {quoted(given)}, which no time matches")


def find_zone(name: object) -> zoneinfo.ZoneInfo:
    """Return a time zone by its name; None is TIME_ZONE. Raises ValueError for an unknown one."""
    if name is None:
        name = timezone.get_default_timezone_name()
    if not isinstance(name, str):
        raise TypeError(f"timezone is a name like 'Europe/Berlin', not {quoted(name)}")
    try:
        return zoneinfo.ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        close = difflib.get_close_matches(name[:50], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        if not known:
            hint = "; this system has no time zones at all: pip install tzdata"
        raise ValueError(f"timezone is {quoted(name)}, which does not exist{hint}") from None


def _cronsim() -> Any:
    try:
        import cronsim  # noqa: PLC0415 - only projects with cron expressions need it
    except ImportError:
        raise ValueError(
            "cron needs the package cronsim: pip install 'django-gearman[schedule]'"
        ) from None
    return cronsim

"""Failures in groups: one for each job, exception and place in the code."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Case, Count, IntegerField, Max, Min, QuerySet, Value, When
from django.utils import timezone

from .attempts import Attempt, Frame, last_attempt, last_frame
from .finding import Choice, firsts
from .models import JobRecord
from .writing import database

#: The newest failures that are grouped; older ones are left out.
MOST_GROUPED = 100_000
#: The largest number of groups.
MOST_GROUPS = 1_000
#: The bars of a histogram.
BARS = 24
_KEYS = ("name", "exception", "fingerprint")

Key = tuple[str, str, str]


@dataclass
class Group:
    """
    Failures of one job with one exception at one place.

    `bars` has their numbers over time, `error` is the last error of the latest of them.
    """

    job: str
    exception: str
    fingerprint: str
    count: int
    first: datetime.datetime | None
    last: datetime.datetime | None
    bars: list[int] = field(default_factory=lambda: [0] * BARS)
    error: Attempt = field(default_factory=Attempt)

    @property
    def key(self) -> Key:
        return self.job, self.exception, self.fingerprint

    @property
    def frame(self) -> Frame | None:
        """The place in the project's code that raised the exception."""
        return last_frame(self.error.traceback)


@dataclass(frozen=True)
class Groups:
    """
    Some groups of failures, with the number of failures and of groups in all.

    `since` is the time of the oldest failure that was looked at, if there are more than
    MOST_GROUPED, with or without the filters; otherwise it is None.
    """

    groups: Sequence[Group]
    count: int
    total: int
    since: datetime.datetime | None


def groups_of(choice: Choice, first: int = 0, most: int = 25) -> Groups:
    """
    Return up to `most` groups of the chosen failures, the largest first, with four queries.

    `first` is the number of larger groups that are left out.
    """
    records = choice.records()
    newest = Choice(until=choice.until).records().order_by("-finished_at")
    times = newest.values_list("finished_at", flat=True)
    since = next(iter(times[MOST_GROUPED : MOST_GROUPED + 1]), None)
    if since is not None and choice.since is not None and since <= choice.since:
        since = None  # all that are chosen are looked at
    if since is not None:
        records = records.filter(finished_at__gte=since)
    counted = (
        records.order_by()
        .values_list(*_KEYS)
        .annotate(count=Count("*"), first=Min("finished_at"), last=Max("finished_at"))
    )
    rows = [*counted.order_by("-count", *_KEYS)[:MOST_GROUPS]]
    groups = [Group(*row) for row in rows[first : first + most]]
    if groups:
        end = choice.until or timezone.now()
        begin = choice.since or min((row[4] for row in rows if row[4]), default=None)
        _draw(groups, records, begin, end)
        _explain(groups)
    return Groups(groups, sum(row[3] for row in rows), len(rows), since)


def _draw(
    groups: Sequence[Group],
    records: QuerySet[JobRecord],
    begin: datetime.datetime | None,
    end: datetime.datetime,
) -> None:
    """Fill the histograms of groups."""
    if begin is None or begin >= end:
        return
    step = (end - begin) / BARS
    borders = [begin + number * step for number in range(1, BARS)]
    shown = records.filter(fingerprint__in={group.fingerprint for group in groups})
    rows = shown.order_by().values_list(*_KEYS).annotate(bar=_bar(borders, 0), count=Count("*"))
    by_key = {group.key: group for group in groups}
    for *key, bar, count in rows:
        if group := by_key.get(tuple(key)):
            group.bars[bar] = count


def _bar(borders: Sequence[datetime.datetime], first: int) -> Any:
    """Return an expression for the number of a bar: a search by halves, on every database."""
    if not borders:
        return Value(first)
    middle = len(borders) // 2
    below = When(finished_at__lt=borders[middle], then=_bar(borders[:middle], first))
    above = _bar(borders[middle + 1 :], first + middle + 1)
    return Case(below, default=above, output_field=IntegerField())


def _explain(groups: Sequence[Group]) -> None:
    """Give each group the last error of its latest record, with one query."""
    rows = JobRecord.objects.using(database())
    latest = firsts(
        rows.filter(
            status=JobRecord.Status.FAILED,
            finished_at=group.last,
            name=group.job,
            exception=group.exception,
            fingerprint=group.fingerprint,
        )
        for group in groups
    )
    found = rows.filter(latest).values_list(*_KEYS, "errors")
    errors = {(name, exception, mark): errors for name, exception, mark, errors in found}
    for group in groups:
        group.error = last_attempt(errors.get(group.key))

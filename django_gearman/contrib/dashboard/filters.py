"""The filters of lists, in addresses and forms."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from urllib.parse import urlencode

from ...utils.text import printable
from ..store.describing import parse_since
from ..store.finding import Choice
from ..store.models import JobRecord

Status = JobRecord.Status

#: The periods that a page offers.
PERIODS = {
    "1h": "last hour",
    "24h": "last 24 hours",
    "7d": "last 7 days",
    "30d": "last 30 days",
}
_LABELS = {"fingerprint": "place in the code"}
_LONGEST = 300  # characters of a value; no column with a filter has more


@dataclass(frozen=True)
class Filters:
    """
    A choice of records, as the texts of an address or a form; "" chooses all.

    `since` and `until` are times like "2026-11-29T08:00", or ages like "24h".
    """

    status: str = Status.FAILED.value
    job: str = ""
    exception: str = ""
    fingerprint: str = ""
    queue: str = ""
    since: str = ""
    until: str = ""

    @classmethod
    def read(cls, data: Mapping[str, str]) -> Filters:
        """Return the filters in an address or a form. Other parameters are left out."""
        found = {each.name: data.get(each.name, "").strip() for each in fields(cls)}
        return cls(**{name: value for name, value in found.items() if value})

    def choice(self) -> Choice:
        """Return the choice of records; raise ValueError, with the value, for an invalid one."""
        for name, value in asdict(self).items():
            if len(value) > _LONGEST:
                raise ValueError(f"{name}: {printable(value, 50)} is too long")
        if self.status not in Status.values:
            raise ValueError(
                f"{printable(self.status)} is not a status; use one of {', '.join(Status.values)}"
            )
        return Choice(
            self.status,
            self.job or None,
            self.exception or None,
            self.fingerprint or None,
            self.queue or None,
            _time("since", self.since),
            _time("until", self.until),
        )

    def as_of(self, now: datetime.datetime) -> Filters:
        """Return the same filters with fixed times, and without any record after `now`."""
        choice = self.choice()
        until = now if choice.until is None else min(now, choice.until)
        since = "" if choice.since is None else choice.since.isoformat()
        return replace(self, since=since, until=until.isoformat())

    def changed(self, **values: str) -> Filters:
        """Return these filters with other values."""
        return replace(self, **values)

    @property
    def given(self) -> dict[str, str]:
        """The values that are not the default, by name."""
        usual = asdict(Filters())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    @property
    def query(self) -> str:
        """The filters as the query string of an address, without a question mark."""
        return urlencode(self.given)

    @property
    def words(self) -> list[tuple[str, str, str]]:
        """For each filter: its name, its value as text, and the query string without it."""
        return [*self._words()]

    def _words(self) -> Iterator[tuple[str, str, str]]:
        for name, value in self.given.items():
            if name == "status":
                continue
            shown = PERIODS.get(value, value) if name == "since" else value
            yield _LABELS.get(name, name), shown, self.changed(**{name: ""}).query


def _time(name: str, text: str) -> datetime.datetime | None:
    if not text:
        return None
    try:
        return parse_since(text)
    except ValueError as error:
        raise ValueError(f"{name}: {printable(str(error), 200)}") from None

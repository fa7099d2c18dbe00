"""
Paused queues: the workers of a paused queue leave its jobs on the job server.

An optional app stores the pauses. It installs the function that reads them when Django starts, and
its service writes the names into the notice of each `gearman_worker`. Without the app there is no
notice, and workers look at none.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..supervisor import Notice
from ..utils.records import get_logger, log

logger = get_logger(__name__)

#: The name under which a reload passes on the notice.
KEPT = "paused queues"


class Pause(NamedTuple):
    """The pause of a queue: the name of who paused it, and the time."""

    by: str
    at: datetime.datetime


#: Reads the paused queues, with the error of the database; None without the app.
find: Callable[[], Mapping[str, Pause]] | None = None
#: The notice of the `gearman_worker` in this process or above it.
notice: Notice | None = None


def install(reader: Callable[[], Mapping[str, Pause]] | None) -> None:
    """Install the function that reads the paused queues; None removes it."""
    global find
    find = reader


def begin(descriptor: int | None) -> Notice | None:
    """
    Return the notice for the workers of this program, with the queues that are paused now.

    `descriptor` is that of the program before; its notice stays valid if the pauses cannot be read.
    """
    global notice
    notice = None if find is None else Notice(descriptor)
    if notice is not None and find is not None:
        try:
            announce(notice, find())
        except Exception as error:  # noqa: BLE001 - the service tries again
            message = "cannot read which queues are paused: %s; %s"
            known = (
                "all are served" if descriptor is None else "the last known pauses stay in effect"
            )
            log(logger, logging.WARNING, message, error, known)
    return notice


def announce(to: Notice, queues: Iterable[str]) -> None:
    """Write the names of the paused queues into a notice."""
    to.write(json.dumps(sorted(queues)).encode())


class PausedQueues:
    """The paused queues, for one worker process; without a notice there are none."""

    def __init__(self, of: Notice | None) -> None:
        self._notice = of
        self.names: frozenset[str] = frozenset()

    def have_changed(self) -> bool:
        """Read the notice; return True if it has new names."""
        if self._notice is None or (text := self._notice.news()) is None:
            return False
        before, self.names = self.names, frozenset(json.loads(text or b"[]"))
        return self.names != before

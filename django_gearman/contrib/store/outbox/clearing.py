"""
The clearing of rows that were sent: a thread deletes them in batches.

Each DELETE is a commit, so one for each job would slow down its submitter. If the process dies first,
the relay sends these jobs again. The job server merges them with those that have not finished.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from django.db import DatabaseError, connections, transaction

from .... import environment
from ....utils.records import get_logger, log
from ..functions import DatabaseTime
from ..models import OutboxJob
from .rows import BATCH

logger = get_logger(__name__)

_DELAY_SECONDS = 0.05
_IDLE_SECONDS = 2.0  # without a row, until the thread ends and closes its connections
_LATE_SECONDS = 1.0  # after which the submitter does the work of a thread that does not run
_RETRY_SECONDS = 0.5
_MOST_ROWS = 50_000  # that wait for a database that is down; the relay sends the others again


def clear(keys: Sequence[int], alias: str) -> None:
    """Delete rows whose jobs were sent."""
    _clearing.add(keys, alias, sent=True)


def make_due(keys: Sequence[int], alias: str) -> None:
    """Leave rows to the relay at once."""
    _clearing.add(keys, alias, sent=False)


def delete_rows(keys: Sequence[int], alias: str) -> None:
    """Delete rows in this database."""
    connection = connections[alias]
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        if connection.vendor == "mysql":
            # Without the index it may read all rows, and wait for those that relays have locked.
            marks = ", ".join(["%s"] * len(part))
            table = OutboxJob._meta.db_table
            with connection.cursor() as cursor:
                cursor.execute(
                    f"DELETE {table} FROM {table} FORCE INDEX (PRIMARY) WHERE id IN ({marks})", part
                )
        else:
            OutboxJob.objects.using(alias).filter(pk__in=part)._raw_delete(alias)


class _Clearing:
    """The rows that wait to be cleared, and the thread that does it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._added = threading.Event()
        self._thread: threading.Thread | None = None
        self._since = 0.0  # monotonic time of the first waiting row; 0 if there is none
        self._rows: dict[tuple[str, bool], list[int]] = defaultdict(list)

    def add(self, keys: Sequence[int], alias: str, *, sent: bool) -> None:
        if not keys:
            return
        if (
            environment.current() is not environment.PRODUCTION
            or connections[alias].in_atomic_block
        ):
            _settle(keys, alias, sent)  # in a test's own transaction, which no thread sees
            return
        with self._lock:
            rows = self._rows[alias, sent]
            rows += keys[: max(0, _MOST_ROWS - len(rows))]
            is_late = bool(self._since) and time.monotonic() - self._since > _LATE_SECONDS
            self._since = self._since or time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                self._thread.start()
        self._added.set()
        if is_late:
            self.flush()

    def flush(self) -> bool:
        """Clear the waiting rows; return True if there were some."""
        with self._working:
            with self._lock:
                waiting, self._rows, self._since = self._rows, defaultdict(list), 0.0
            for (alias, sent), keys in waiting.items():
                try:
                    _settle(keys, alias, sent)
                except DatabaseError as error:
                    log(logger, logging.WARNING, "cannot clear the outbox: %s", error)
                    connections[alias].close()
                    with self._lock:
                        self._rows[alias, sent] = keys + self._rows[alias, sent]
                        self._since = self._since or time.monotonic()
                    time.sleep(_RETRY_SECONDS)
            return bool(waiting)

    def _run(self) -> None:
        try:
            while True:
                self._added.wait(_IDLE_SECONDS)
                self._added.clear()
                time.sleep(_DELAY_SECONDS)
                if not self.flush():
                    with self._lock:
                        if not self._rows:
                            self._thread = None
                            return
        finally:
            connections.close_all()


def _settle(keys: Sequence[int], alias: str, sent: bool) -> None:
    if not sent:
        rows = OutboxJob.objects.using(alias).filter(pk__in=keys, attempts=0)
        rows.update(next_try_at=DatabaseTime())
        return
    if connections[alias].vendor == "postgresql" and not connections[alias].in_atomic_block:
        # If PostgreSQL crashes just then, the relay sends these jobs again.
        with transaction.atomic(alias), connections[alias].cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO off")
            delete_rows(keys, alias)
        return
    delete_rows(keys, alias)


_clearing = _Clearing()


def _begin_process() -> None:
    """Leave the parent's rows to the parent."""
    global _clearing
    _clearing = _Clearing()


os.register_at_fork(after_in_child=_begin_process)
atexit.register(lambda: _clearing.flush())

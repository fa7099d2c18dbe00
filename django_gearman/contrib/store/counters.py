"""The errors of the store: their number, for metrics, and the last one, for people."""

from __future__ import annotations

import datetime
import fcntl
import mmap
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...supervisor.scoreboard import memory_file
from ...utils.interrupts import undisturbed
from ...utils.text import printable

_LONGEST = 300  # characters of an error
_head = struct.Struct("=QddI")  # the number, the times of the first and the last one, a length
_SIZE = mmap.PAGESIZE
_MOST_BYTES = _SIZE - _head.size


@dataclass(frozen=True)
class StoreErrors:
    """
    The writes of records that have failed in all processes of a `gearman_worker`: their number, the
    times of the first and the last one, and the error of the last one.
    """

    count: int
    since: datetime.datetime
    last: datetime.datetime
    text: str


class SharedErrors:
    """The errors of all processes that are forked after this was made, in memory that they share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self._lock = memory_file("store errors")  # the system releases its lock if a process dies

    def add(self, text: str) -> None:
        """Count an error; one thread of a process at a time may do so."""
        encoded, now = text.encode(errors="replace")[:_MOST_BYTES], time.time()
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            count, since, _, _ = _head.unpack_from(self._memory)
            self._memory[_head.size : _head.size + len(encoded)] = encoded
            _head.pack_into(self._memory, 0, count + 1, since or now, now, len(encoded))
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def read(self) -> StoreErrors | None:
        """Return the errors; None if there were none."""
        count, since, last, length = _head.unpack_from(self._memory)
        text = self._memory[_head.size : _head.size + length].decode(errors="replace")
        return StoreErrors(count, _time(since), _time(last), text) if count else None


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


class Counter:
    """A number that only rises."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0
        #: Counts the same elsewhere, for example for all processes.
        self.also: Callable[[], object] | None = None
        #: Those of all processes of this `gearman_worker`; None in other programs.
        self.shared: SharedErrors | None = None
        self._lock = threading.Lock()

    @undisturbed
    def add(self, text: str = "") -> None:
        """Count an error; `text` says which."""
        with self._lock:
            self.value += 1
            if self.shared is not None:
                self.shared.add(printable(text, _LONGEST))
        if self.also is not None:
            self.also()

    def share(self) -> None:
        """Count the errors of the processes together that this one forks from now on."""
        self.shared = SharedErrors()


#: Writes of records that have failed for good, since this process started.
gearman_store_errors_total = Counter("gearman_store_errors_total")

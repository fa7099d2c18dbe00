"""
The buffer of a worker's connection: outcomes of quick jobs, which are written together.

Each write wakes the server, which takes longer than a quick job itself. So while further jobs are
held, the results of background jobs stay here, until there are many or some time has passed. Most
writes are made with a later outcome. If the next job is slow after all, a thread of the buffer
writes. It exists only while there is something to write, because code of the project may fork.

A client waits for a foreground job. Its result stays here for less time, and only if the jobs of its
function take next to none.

If the process dies, the jobs of the results that are still here run again.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ...exceptions import BackendError
from ...utils.clock import monotonic
from ...utils.interrupts import undisturbed

#: Most results that wait: half of the jobs that are held, so that the next ones arrive in time.
MOST_RESULTS = 50
#: Most bytes of results that wait.
MOST_BYTES = 1 << 16
#: Seconds until the results are written. The interpreter may need five milliseconds to change to the
#: thread.
LATEST_SECONDS = 0.0025
#: Seconds until the result of a foreground job is written.
AWAITED_SECONDS = 0.0004
#: Longest run of such a job, in seconds: the next one ends before its time.
BRIEF_SECONDS = 0.0001

_IDLE_ROUNDS = 50  # of the thread, without anything to write, until it ends


def seconds_to_wait(seconds: float, is_quick: bool, background: bool | None) -> float:
    """
    Return the seconds that the result of a job may wait for that of the next one; 0 for no time.

    The job has run for `seconds`. `is_quick` says that the next one is of a quick function, too.
    """
    if background:
        return LATEST_SECONDS
    return AWAITED_SECONDS if is_quick and seconds < BRIEF_SECONDS else 0.0


class OutcomeBuffer:
    """The packets that wait for the next write; `write` sends bytes to the server."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._lock = threading.Lock()  # around each write, so that packets do not mix
        self._packets: list[bytes] = []
        self._results = self._bytes = 0
        self._write_by = math.inf
        self._is_awaited = False  # one of them, since the last look of the thread
        self._thread: threading.Thread | None = None

    @undisturbed
    def send(self, *packets: bytes) -> None:
        """Write the waiting packets, and these."""
        with self._lock:
            if self._packets:
                packets = *self._packets, *packets
            self._write(*packets)
            self.clear()

    @undisturbed
    def hold(self, packets: tuple[bytes, ...], now: float, seconds: float) -> None:
        """Let a result wait for up to these seconds, or write all of them."""
        with self._lock:
            self._write_by = min(self._write_by, now + seconds)
            is_awaited = seconds < LATEST_SECONDS
            sleeps_long = self._thread is not None and not self._is_awaited
            self._is_awaited = self._is_awaited or is_awaited
            self._packets += packets
            self._results += 1
            self._bytes += sum(map(len, packets))
            is_full = self._results >= MOST_RESULTS or self._bytes >= MOST_BYTES
            is_late = now >= self._write_by or (is_awaited and sleeps_long)
            if is_full or is_late or not self._has_thread():
                self._flush()

    def flush(self) -> None:
        """Write the waiting packets."""
        with self._lock:
            self._flush()

    def clear(self) -> int:
        """Forget the waiting packets; return the number of results among them."""
        results = self._results
        self._packets, self._results, self._bytes = [], 0, 0
        self._write_by = math.inf
        return results

    def _flush(self) -> None:
        if self._packets:
            self._write(*self._packets)
            self.clear()

    def _has_thread(self) -> bool:
        """Return True if the thread runs, which this starts."""
        if self._thread is None:
            thread = threading.Thread(target=self._write_late, name="gearman-write", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                return False
            self._thread = thread
        return True

    def _write_late(self) -> None:
        idle = 0
        while True:
            time.sleep(AWAITED_SECONDS if self._is_awaited else LATEST_SECONDS)
            with self._lock:
                idle = 0 if self._packets else idle + 1
                self._is_awaited = self._is_awaited and not idle
                if idle >= _IDLE_ROUNDS:
                    self._thread = None
                    return
                if monotonic() >= self._write_by:
                    with suppress(BackendError):  # the worker finds out by itself
                        self._flush()

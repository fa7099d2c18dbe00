"""
The buffer of a worker's connection: outcomes of quick jobs, which are written together.

Each write wakes the server, which takes longer than a quick job itself. So while further jobs are
held, the results of background jobs stay here, until there are many or some time has passed. Most
writes are made with a later outcome. If the next job is slow after all, a thread of the buffer
writes. It exists only while there is something to write, because code of the project may fork.

If the process dies, the jobs of the results that are still here run again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ...exceptions import BackendError
from ...utils.clock import monotonic
from ...utils.interrupts import undisturbed

#: Most results that wait: half of the jobs that are held, so that the next ones arrive in time.
MOST_RESULTS = 25
#: Most bytes of results that wait.
MOST_BYTES = 1 << 16
#: Seconds until the results are written. The interpreter may need five milliseconds to change to the
#: thread.
LATEST_SECONDS = 0.002

_IDLE_ROUNDS = 50  # of the thread, without anything to write, until it ends


class OutcomeBuffer:
    """The packets that wait for the next write; `write` sends bytes to the server."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._lock = threading.Lock()  # around each write, so that packets do not mix
        self._packets: list[bytes] = []
        self._results = self._bytes = 0
        self._since = 0.0  # the time of the first
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
    def hold(self, packets: tuple[bytes, ...], now: float) -> None:
        """Let a result wait, or write all of them."""
        with self._lock:
            if not self._packets:
                self._since = now
            self._packets += packets
            self._results += 1
            self._bytes += sum(map(len, packets))
            is_full = self._results >= MOST_RESULTS or self._bytes >= MOST_BYTES
            if is_full or now - self._since >= LATEST_SECONDS or not self._has_thread():
                self._flush()

    def flush(self) -> None:
        """Write the waiting packets."""
        with self._lock:
            self._flush()

    def clear(self) -> int:
        """Forget the waiting packets; return the number of results among them."""
        results = self._results
        self._packets, self._results, self._bytes = [], 0, 0
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
            time.sleep(LATEST_SECONDS)
            with self._lock:
                idle = 0 if self._packets else idle + 1
                if idle >= _IDLE_ROUNDS:
                    self._thread = None
                    return
                if self._packets and monotonic() - self._since >= LATEST_SECONDS:
                    with suppress(BackendError):  # the worker finds out by itself
                        self._flush()

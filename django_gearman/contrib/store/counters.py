"""Numbers about the store in this process, for metrics."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Counter:
    """A number that only rises."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0
        #: Counts the same elsewhere, for example for all processes.
        self.also: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.value += 1
        if self.also is not None:
            self.also()


#: Writes of records that have failed for good, since this process started.
gearman_store_errors_total = Counter("gearman_store_errors_total")

"""The opening of a worker's connection, which may take seconds, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...exceptions import ConnectionLost
from ...utils.clock import monotonic
from ..connection import Connection

_OPENING_SECONDS = 0.05  # until an opening connection is checked; grows later


class Opening(threading.Thread):
    """A connection that is opening while the other servers are served."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        super().__init__(name="gearman-connect", daemon=True)
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._error: BaseException | None = None
        self._is_abandoned = False
        self._began = monotonic()
        self.start()

    def run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - it is raised by `result`
            self._error = error
            return
        with self._lock:
            self._connection = connection
            if self._is_abandoned:
                connection.close()

    @property
    def is_done(self) -> bool:
        return not self.is_alive()

    @property
    def next_look(self) -> float:
        now = monotonic()
        return now if self.is_done else now + _OPENING_SECONDS + (now - self._began) / 4

    def result(self) -> Connection:
        if self._connection is None:
            raise self._error or ConnectionLost("no connection was opened")
        return self._connection

    def abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
            if self._connection is not None:
                self._connection.close()

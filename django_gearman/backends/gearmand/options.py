"""GEARMAN_OPTIONS of the "gearman" transport."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...protocol.address import ServerAddress
from ...utils.clock import monotonic
from ..connection import Connection
from ..opening import open_connection


@dataclass(frozen=True)
class GearmandOptions:
    """
    The time limits of connections to real job servers, in seconds.

    `submit_timeout` limits a whole submission, from the first connect to the last acknowledgement,
    if the caller sets no limit; sending large jobs is not counted. `reply_timeout` limits the
    server's silence after a request. After `status_interval` without news, a waiting client checks
    that its job still exists. A server that failed is passed over for `down_time`. After silence
    this is doubled each time, up to 32-fold.
    """

    connect_timeout: float = 5.0
    send_timeout: float = 30.0
    reply_timeout: float = 10.0
    status_interval: float = 5.0
    down_time: float = 10.0
    submit_timeout: float = 15.0

    def connect(self, server: ServerAddress, until: float = math.inf) -> Connection:
        """Open a connection before the given monotonic time."""
        patience = max(0.001, min(self.connect_timeout, until - monotonic()))
        return open_connection(server, connect_timeout=patience, send_timeout=self.send_timeout)

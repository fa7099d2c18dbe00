"""Ordinary clients beside a trouble: it must not reach them."""

from __future__ import annotations

import time

from .ground import JobServer
from .report import Report
from .scenarios.reloads import Waiting

CLIENTS = 2
CALM_SECONDS = 2.0


class Ordinary:
    """Clients that wait for results, at first without the trouble."""

    def __init__(self, server: JobServer) -> None:
        self._clients = [Waiting(server) for _ in range(CLIENTS)]
        time.sleep(CALM_SECONDS)
        self._calm = self._waited()

    def _waited(self) -> list[float]:
        return [seconds for client in self._clients for seconds in client.took]

    def stop(self) -> None:
        """Stop them; the trouble is over."""
        self._all = self._waited()
        for client in self._clients:
            client.stop()

    def report(self, report: Report) -> None:
        errors = [error for client in self._clients for error in client.errors]
        report.number("ordinary jobs meanwhile", len(self._all))
        report.seconds("what they waited before", self._calm)
        report.seconds("what they waited with it", self._all[len(self._calm) :])
        report.number("ordinary jobs that failed", len(errors))
        report.check(not errors, "ordinary jobs are unaffected", errors[:3])

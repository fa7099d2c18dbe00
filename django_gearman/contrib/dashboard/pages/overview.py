"""Overview: job servers and queues."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.http import HttpRequest

from ....management.servers import ServerState, server_states
from .base import PageAdmin

#: Seconds that all servers together may cost a page.
PATIENCE = 1.0


class OverviewAdmin(PageAdmin):
    """The page of job servers and queues."""

    name = "overview"

    def context(self, request: HttpRequest) -> dict[str, Any]:
        return collect()


def collect() -> dict[str, Any]:
    """Return the job servers, and the problem if there are none to ask."""
    servers: list[ServerState] = []
    problem = ""
    try:
        servers = server_states(PATIENCE)
    except CommandError as error:
        problem = str(error)
    return {"servers": servers, "problem": problem}

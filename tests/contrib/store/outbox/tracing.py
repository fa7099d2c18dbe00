"""A middleware for the tests of the outbox."""

from __future__ import annotations

from typing import Any

from django_gearman.middleware import Middleware, Submit


class Tracing(Middleware):
    """A middleware that adds an entry to the context of each job."""

    def around_submit(self, requests: list[Any], submit: Submit) -> None:
        for request in requests:
            request.context["trace"] = "7"
        submit(requests)

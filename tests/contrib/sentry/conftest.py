from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Inbox:
    """The envelopes that Sentry's SDK has sent in a test."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []

    @property
    def _items(self) -> list[Any]:
        return [item for envelope in self.envelopes for item in envelope.items]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [item.payload.json for item in self._items if item.type == "event"]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return [item.payload.json for item in self._items if item.type == "transaction"]

    @property
    def event(self) -> dict[str, Any]:
        [event] = self.events
        return event


@pytest.fixture
def sentry(monkeypatch) -> Iterator[Callable[..., Inbox]]:
    """Return a function that starts Sentry's SDK, with a transport that keeps what is sent."""
    import sentry_sdk
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.transport import Transport

    from django_gearman import middleware
    from django_gearman.contrib.sentry import GearmanIntegration
    from django_gearman.contrib.sentry.integration import _active
    from django_gearman.contrib.sentry.tracing import SentryMiddleware

    inbox = Inbox()

    class FakeTransport(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            inbox.envelopes.append(envelope)

    def start(*, is_logged: bool = True, **options: Any) -> Inbox:
        mine = options.pop("gearman", {})
        others = [LoggingIntegration(), DedupeIntegration()] if is_logged else []
        sentry_sdk.init(
            "http://key@127.0.0.1:9/1",
            transport=FakeTransport(),
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[*others, GearmanIntegration(**mine)],
            **{"traces_sample_rate": 1.0, **options},
        )
        return inbox

    # The SDK prepares a process once, and this test's process runs other tests afterwards.
    added = SentryMiddleware(_active)
    with sentry_sdk.new_scope(), sentry_sdk.isolation_scope():
        start()
        inbox.envelopes.clear()
        monkeypatch.setattr(middleware, "added", (added,))
        monkeypatch.setattr(middleware, "_built", (None, middleware.NONE))
        yield start
    sentry_sdk.get_global_scope().set_client(None)
    monkeypatch.undo()

"""The integration, as `sentry_sdk.init` gets it."""

from __future__ import annotations

from typing import Any

import sentry_sdk
from sentry_sdk.integrations import Integration

from ...middleware import add_middleware
from ...signals import worker_stopping
from .events import of_log_record
from .tracing import SentryMiddleware

_FLUSH_SECONDS = 2.0  # Sentry's own default


class GearmanIntegration(Integration):
    """
    An integration that reports failed jobs to Sentry, and traces jobs.

    `report_retries=True` also reports a failed attempt that is retried, as a warning. With
    `propagate_traces=False`, jobs do not carry the trace of their submitter.
    """

    identifier = "gearman"
    origin = "auto.queue.gearman"

    def __init__(self, *, report_retries: bool = False, propagate_traces: bool = True) -> None:
        self.report_retries = report_retries
        self.propagate_traces = propagate_traces

    @staticmethod
    def setup_once() -> None:
        """Prepare this process; Sentry's SDK calls this once."""
        add_middleware(SentryMiddleware(_active))
        sentry_sdk.get_global_scope().add_event_processor(_process)
        worker_stopping.connect(_flush, dispatch_uid=f"{__name__}.flush")


def _active() -> GearmanIntegration | None:
    """Return the integration of the current client, if it has one."""
    return sentry_sdk.get_client().get_integration(GearmanIntegration)


def _process(event: Any, hint: Any) -> Any:
    return event if _active() is None else of_log_record(event, hint)


def _flush(**named: Any) -> None:
    """Send the waiting events: this process may exit without Sentry's own exit handler."""
    sentry_sdk.flush(timeout=_FLUSH_SECONDS)

"""Sources of a page, asked at each scrape: the job servers, and the store where it is installed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib import import_module

from django.apps import apps
from prometheus_client import Metric

from ...utils.records import get_logger, log
from .patience import Look
from .servers import ServerLooks

logger = get_logger("django_gearman.metrics")

#: Seconds that all of these may take together.
PATIENCE = 1.0
STORE = "django_gearman.contrib.store"


class Sources:
    """The job servers and the store. If one does not answer in time, only its metrics are missing."""

    def __init__(self) -> None:
        self._servers = ServerLooks()
        self._store: Look[list[Metric]] | None = None
        if apps.is_installed(STORE):  # its models cannot be imported otherwise
            look: Callable[[], list[Metric]] = import_module(f"{__package__}.store").store_metrics
            self._store = Look(look)
        self._trouble = ""

    def begin(self) -> None:
        """Ask all of them at the same time."""
        self._servers.begin()
        if self._store is not None:
            self._store.begin()

    def metrics(self, until: float) -> Iterator[Metric]:
        """Yield the metrics of those that answer until this monotonic time."""
        yield from self._servers.metrics(until)
        if self._store is not None:
            yield from self._store_metrics(self._store, until)

    def _store_metrics(self, store: Look[list[Metric]], until: float) -> list[Metric]:
        trouble = ""
        try:
            return store.result(until)
        except TimeoutError:
            trouble = f"no answer within {PATIENCE:g} s"
        except Exception as error:  # noqa: BLE001 - a database that is down is no failure of the page
            trouble = str(error)
        finally:
            if trouble and trouble != self._trouble:
                message = "the metrics of the store are left out: %s"
                log(logger, logging.WARNING, message, trouble)
            self._trouble = trouble
        return []

"""The three views of the page."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ...jobs.definition import JobDefinition
from ...supervisor import Attendant
from ...utils.clock import monotonic
from ...utils.records import get_logger, log
from .files import file_metrics
from .page import Answer, View
from .processes import process_metrics
from .sources import PATIENCE, Sources
from .values import name_of

logger = get_logger("django_gearman.metrics")


class Views(Collector):
    """The views of the attendant, for workers that serve these jobs."""

    def __init__(
        self, attendant: Attendant, directory: str, jobs: Collection[JobDefinition]
    ) -> None:
        self._attendant = attendant
        self._directory = directory
        self._jobs = jobs
        self._sources = Sources()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    @property
    def paths(self) -> dict[str, View]:
        return {"/metrics": self.metrics, "/healthz": self.healthz, "/readyz": self.readyz}

    def metrics(self, accept: str) -> Answer:
        """Answer with all metrics, in the text format that the client accepts."""
        encode, kind = choose_encoder(accept)
        return Answer(encode(self._registry), kind=kind)

    def healthz(self, accept: str) -> Answer:
        """Answer 200 while the supervisor and its attendant run."""
        try:
            with self._attendant.overview():
                return Answer("ok\n")
        except TimeoutError as error:
            return Answer(f"{error}\n", HTTPStatus.SERVICE_UNAVAILABLE)

    def readyz(self, accept: str) -> Answer:
        """Answer 200 while every process serves."""
        try:
            with self._attendant.overview() as found:
                status = found.status
        except TimeoutError as error:
            return Answer(f"{error}\n", HTTPStatus.SERVICE_UNAVAILABLE)
        code = HTTPStatus.OK if status.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(f"{status}\n", code)

    def collect(self) -> Iterator[Metric]:
        until = monotonic() + PATIENCE
        self._sources.begin()
        live: Collection[str] | None = None
        try:
            with self._attendant.overview(PATIENCE) as found:
                live = {name_of(process.number) for process in found.processes}
                yield from process_metrics(found, {job.queue for job in self._jobs})
        except TimeoutError as error:
            log(logger, logging.WARNING, "the metrics of processes are left out: %s", error)
        yield from file_metrics(self._directory, live, self._jobs)
        yield from self._sources.metrics(until)

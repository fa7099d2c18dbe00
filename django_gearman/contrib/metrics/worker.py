"""The metrics of `gearman_worker --metrics`: counted in its processes, served by its attendant."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence

from django.apps import apps
from django.core.management.base import CommandError

from ...jobs.counting import install_counter
from ...supervisor import Attendant, Service
from ...supervisor.reload import previous_descriptor
from ...supervisor.scoreboard import memory_file
from ...utils.records import get_logger
from ...worker.worker import GearmanWorker
from ..store.counters import gearman_store_errors_total
from .address import ListenAddress, name_of
from .counting import RunCounter
from .directory import Directory
from .page import Page
from .sources import STORE
from .values import begin_process, share_values
from .views import Views

logger = get_logger("django_gearman.metrics")

_ABOUT, _SOCKET = "metrics", "metrics socket"  # names of descriptors for the next program


class WorkerMetrics:
    """The metrics of one supervisor, and their page."""

    def __init__(self, address: str, workers: Sequence[GearmanWorker]) -> None:
        self._address = ListenAddress.parse(address)
        jobs = {job.name: job for worker in workers for job in worker.jobs}
        self._jobs = list(jobs.values())
        self.services = [Service("metrics", self._serve)]
        self._listening: socket.socket | None = None
        self._directory: Directory | None = None
        self._counter: RunCounter | None = None

    # In the supervisor

    def open(self) -> None:
        """Listen, and prepare to count; raise CommandError if this is impossible."""
        before = _previous()
        try:
            self._listening = _adopt(before, str(self._address)) or self._address.listen()
        except OSError as error:
            reason = str(error.strerror or error).partition(" (while")[0]
            raise CommandError(f"--metrics {self._address}: {reason}") from error
        try:
            self._directory = Directory(before.get("directory"))
        except OSError as error:
            raise CommandError(
                f"--metrics needs a temporary directory, which TMPDIR can name: {error}"
            ) from error
        share_values(self._directory.path)
        self._counter = counter = RunCounter(self._directory.path)
        install_counter(counter)
        if apps.is_installed(STORE):
            counter.add_store_errors(0)
            gearman_store_errors_total.also = counter.add_store_errors
        logger.info("metrics at http://%s/metrics", name_of(self._listening))

    @property
    def kept(self) -> Mapping[str, int]:
        """The descriptors for the next program on a reload: of the page, and of the values so far."""
        if self._listening is None or self._directory is None:
            return {}
        about = {"address": str(self._address), "directory": self._directory.path}
        written = memory_file("metrics")
        os.pwrite(written, json.dumps(about).encode(), 0)
        return {_ABOUT: written, _SOCKET: self._listening.fileno()}

    def close(self) -> None:
        """Stop listening, and remove all values."""
        if self._listening is not None:
            self._listening.close()
        if self._counter is not None:
            self._counter.close()
        if self._directory is not None:
            self._directory.close()

    # In its processes

    def begin_process(self, number: int) -> None:
        if self._directory is not None and self._counter is not None:
            begin_process(number, self._directory.path)
            os.register_at_fork(after_in_child=self._counter.begin_anew)

    def begin_worker(self) -> None:
        """Close the socket: a program that a job leaves behind would keep the port."""
        if self._listening is not None:
            self._listening.close()

    # In the attendant

    def _serve(self, attendant: Attendant) -> None:
        if self._listening is None or self._directory is None:
            return
        views = Views(attendant, self._directory.path, self._jobs)
        Page(self._listening, views.paths).serve(lambda: attendant.is_stopping)


def _previous() -> dict[str, str]:
    """Return the address and the directory of the previous program; {} if there was none."""
    descriptor = previous_descriptor(_ABOUT)
    if descriptor is None:
        return {}
    with os.fdopen(descriptor) as file:
        file.seek(0)
        about: dict[str, str] = json.load(file)
    return about


def _adopt(before: dict[str, str], address: str) -> socket.socket | None:
    """Return the socket of the previous program, if it listens at the same address."""
    descriptor = previous_descriptor(_SOCKET)
    if descriptor is None:
        return None
    listening = socket.socket(fileno=descriptor)
    if before.get("address") == address:
        return listening
    listening.close()
    return None

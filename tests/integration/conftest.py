"""Real processes on a real gearmand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from django_gearman import GearmanClient
from tests.support.gearmand import Gearmand, wait_until

ROOT = Path(__file__).parent.parent.parent


class Process:
    """A run of manage.py, with its output."""

    def __init__(self, log: Path, address: str, *arguments: str, backend: str = "gearman"):
        self.log = log
        self._file = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.integration.settings",
                "GEARMAN_BACKEND": backend,
                "GEARMAN_SERVERS": address,
                "TRAIL": str(log.parent / "trail"),
            },
        )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in path.read_text().split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            children = self.children()
            self.process.kill()
            self.process.wait()
            for child in children:
                with suppress(ProcessLookupError):  # it dies with its parent
                    os.kill(child, signal.SIGKILL)
        self._file.close()


@pytest.fixture
def launch(tmp_path, own_gearmand) -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def make(*arguments: str, backend: str = "gearman") -> Process:
        log = tmp_path / f"{len(processes)}.log"
        processes.append(Process(log, own_gearmand.address, *arguments, backend=backend))
        return processes[-1]

    yield make
    for process in processes:
        process.close()


@pytest.fixture
def client(settings, own_gearmand) -> GearmanClient:
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    settings.GEARMAN_EXTERNAL_JOBS = ["c.*", "perl.*", "php.*"]
    return GearmanClient()


@pytest.fixture
def trail(tmp_path) -> Callable[[], list[str]]:
    """Return the lines that jobs have written so far."""
    path = tmp_path / "trail"
    return lambda: path.read_text().split() if path.exists() else []


def workers_ready(server: Gearmand, number: int, function: str = "tests.integration.mark") -> None:
    wait_until(lambda: server.totals().get(function, (0, 0, 0))[2] == number, f"{number} workers")

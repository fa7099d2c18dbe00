"""Private databases for the integration tests, and programs that use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from django.db.utils import ConnectionHandler

ROOT = Path(__file__).parent.parent.parent.parent


class Database:
    """A migrated database, by its settings; `unblock` allows this process to use it."""

    def __init__(
        self,
        vendor: str,
        config: dict[str, Any],
        unblock: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.vendor = vendor
        self.config = config
        self._unblock = unblock

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self._unblock():
            handler = ConnectionHandler({"default": {**self.config}})
            connection = handler["default"]
            try:
                with connection.cursor() as cursor:
                    cursor.execute(sql)
                    return [*cursor.fetchall()] if cursor.description else []
            finally:
                connection.close()

    def count(self, table: str = "gearman_outbox") -> int:
        [(number,)] = self.query(f"SELECT COUNT(*) FROM {table}")
        return int(number)


class Project:
    """The processes of a project: programs and commands with one environment."""

    def __init__(self, directory: Path, database: Database, gearmand: str) -> None:
        self.trail = directory / "trail"
        self._directory = directory
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.contrib.integration.settings",
            "TEST_DATABASES": json.dumps({"default": database.config}),
            "TEST_GEARMAND": gearmand,
            "TRAIL": str(self.trail),
        }
        self._running: list[subprocess.Popen[str]] = []
        self._number = 0

    def set(self, **variables: str) -> None:
        self._environment |= variables

    def lines(self) -> list[str]:
        return self.trail.read_text().splitlines() if self.trail.exists() else []

    def run(self, *command: str, code: int = 0, seconds: float = 120) -> str:
        """Run a command to its end, which must have this exit code; return its output."""
        process = self.start(*command)
        ended = process.wait(seconds)
        output = self.output(process)
        assert ended == code, output
        return output

    def manage(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "manage.py", *arguments, code=code)

    def python(self, source: str, code: int = 0, seconds: float = 120) -> str:
        """Run a program, after Django has been set up."""
        command = sys.executable, "-c", self.program(source)
        return self.run(*command, code=code, seconds=seconds)

    def program(self, source: str) -> str:
        start = "import django; django.setup()\n"
        return start + PRELUDE + textwrap.dedent(source)

    def start(self, *command: str) -> subprocess.Popen[str]:
        self._number += 1
        log = self._directory / f"log-{self._number}"
        with log.open("w") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        process.log = log  # type: ignore[attr-defined]
        self._running.append(process)
        return process

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "manage.py", "gearman_worker", "-q", "trail", *arguments)

    def output(self, process: subprocess.Popen[str]) -> str:
        text: str = process.log.read_text()  # type: ignore[attr-defined]
        return text

    def stop(self, process: subprocess.Popen[str]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(60)

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()


PRELUDE = """
import os, signal, sys, time
from django.db import connection, connections, transaction
from django_gearman import GearmanClient
from django_gearman.contrib.store.models import OutboxJob
from tests.contrib.integration.gearman_jobs import due, mark, note, observed, slow, submits
from tests.contrib.integration.gearman_jobs import queries, queries_async

class Undone(Exception):
    pass
"""

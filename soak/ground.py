"""The ground of a scenario: a directory with a project of jobs, job servers, and workers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from django_gearman import GearmanClient
from django_gearman.testing import GearmanServer
from django_gearman.testing.programs import INCLUDED, included_server

from .proxy import Proxy
from .watching import Stuck, children, cpu_seconds, wait_until

_ROOT = Path(__file__).parent.parent
_PROJECT = Path(__file__).parent / "project"


class JobServer(GearmanServer):
    """A job server that answers the admin command `status`; `store` is its file of jobs."""

    def __init__(self, store: Path | None, *, included: bool) -> None:
        self._store = store
        if included:
            super().__init__(f"--store={store}", program=included_server())
        elif store is not None:
            super().__init__("--queue-type=libsqlite3", f"--libsqlite3-db={store}")
        else:
            super().__init__()

    def stored(self) -> int:
        """Return the number of jobs on disk."""
        if self.name == INCLUDED:  # which locks its file, and counts the same jobs
            return self.jobs()
        with contextlib.closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as queue:
            return int(queue.execute("SELECT count(*) FROM gearman_queue").fetchone()[0])

    @property
    def client(self) -> GearmanClient:
        return GearmanClient([self.address])

    def totals(self) -> dict[str, tuple[int, int, int]]:
        """Return (jobs, running ones, workers) by function; {} while the server does not answer."""
        answer = b""
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 5) as admin:
                admin.sendall(b"status\r\n")
                while not (answer == b".\n" or answer.endswith(b"\n.\n")):
                    if not (data := admin.recv(65536)):
                        return {}
                    answer += data
            rows = [line.split("\t") for line in answer.decode().splitlines()[:-1]]
            return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}
        return {}

    def jobs(self) -> int:
        """Return the number of jobs, delayed ones included; -1 if the server does not answer."""
        totals = self.totals()
        return sum(total for total, _, _ in totals.values()) if totals else -1

    def workers(self, function: str = "work.release") -> int:
        return self.totals().get(function, (0, 0, 0))[2]


class Worker:
    """A running gearmand_worker with its log."""

    def __init__(
        self, log: Path, directory: Path, environment: dict[str, str], arguments: tuple[str, ...]
    ) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "gearman_worker", *arguments],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def children(self) -> list[int]:
        return children(self.pid)

    def log_lines(self, words: str) -> Counter[int]:
        """Count the lines of the log that contain these words, by process."""
        lines = re.findall(
            rf"^\S+ \S+ (\d+) [A-Z]+ .*{re.escape(words)}", self.output, re.MULTILINE
        )
        return Counter(map(int, lines))

    def cpu_percent(self, seconds: float) -> tuple[float, float]:
        """
        Measure for this time; return the CPU time of all its processes, and of the busiest one.
        """
        before, started = cpu_seconds([self.pid, *self.children]), time.monotonic()
        time.sleep(seconds)
        after, took = cpu_seconds([self.pid, *self.children]), time.monotonic() - started
        used = [100 * (after[pid] - before.get(pid, 0.0)) / took for pid in after]
        return sum(used), max(used)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 120.0) -> int:
        """Return the exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Stuck(f"the worker has not exited within {seconds:g} s") from None

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit code, and the seconds until it came."""
        started = time.monotonic()
        self.send(signal.SIGTERM)
        return self.wait(), time.monotonic() - started

    def close(self) -> None:
        """Kill its remaining processes."""
        forked = self.children
        self._process.kill()
        self._process.wait()
        for child in forked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


class Ground:
    """
    A directory with releases of the project, like a deployment: `current` is a link to one.

    As a context manager it ends all programs that were started on it. With `included`, its servers
    are the included one, which keeps background jobs on disk. Each process of its workers has
    `threads` jobs at a time.
    """

    def __init__(self, directory: Path, *, included: bool = False, threads: int = 1) -> None:
        self.directory = directory
        self.threads = threads
        self._trail = directory / "trail"
        self._ends = contextlib.ExitStack()
        self._workers = self._servers = 0
        self._included = included
        self.release(1)

    def release(self, number: int, code: str | None = None) -> None:
        """Deploy a release, whose jobs return its number; `code` replaces its module."""
        target = self.directory / f"release-{number}"
        shutil.copytree(_PROJECT, target, ignore=shutil.ignore_patterns("__pycache__"))
        (target / "work" / "number.py").write_text(code or f"RELEASE = {number}\n")
        link = self.directory / "next"
        link.symlink_to(target)
        link.replace(self.directory / "current")

    def task(self, name: str, number: int) -> str:
        """Return the name of a job; with several jobs at a time, every other one is a coroutine."""
        return f"work.{name}_async" if self.threads > 1 and number % 2 else f"work.{name}"

    def server(self, *, durable: bool = False) -> JobServer:
        self._servers += 1
        store = self.directory / f"queue-{self._servers}" if durable or self._included else None
        return self._ends.enter_context(JobServer(store, included=self._included))

    def proxy(self, server: JobServer) -> Proxy:
        proxy = Proxy(server.port)
        self._ends.callback(proxy.close)
        return proxy

    def worker(self, address: str, *arguments: str, **environment: str) -> Worker:
        self._workers += 1
        current = self.directory / "current"
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        inherited = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        worker = Worker(
            self.directory / f"worker-{self._workers}.log",
            current,
            {
                **inherited,
                "PWD": str(current),
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                "GEARMAN_SERVERS": address,
                "TRAIL": str(self._trail),
                **environment,
            },
            (*arguments, f"--threads={self.threads}"),
        )
        self._ends.callback(worker.close)
        return worker

    def serving(self, server: JobServer, worker: Worker, number: int) -> None:
        """Wait for this number of registered processes."""

        def ready() -> bool:
            return server.workers() == number

        self.wait(ready, worker, f"{number} processes are registered")

    def wait(self, condition: Callable[[], bool], worker: Worker, what: str) -> None:
        """Wait for a condition; fail if the worker exits."""

        def holds() -> bool:
            if worker._process.poll() is not None:
                raise Stuck(f"the worker has exited with {worker._process.returncode}: {what}")
            return condition()

        wait_until(holds, what)

    def marks(self) -> dict[str, Counter[int]]:
        """Return, by its first word, the count of each number on the trail that the jobs leave."""
        marks: dict[str, Counter[int]] = {}
        if self._trail.exists():
            for line in self._trail.read_text().splitlines():
                word, number = line.split()
                marks.setdefault(word, Counter())[int(number)] += 1
        return marks

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.close()

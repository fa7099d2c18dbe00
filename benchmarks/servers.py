"""
Servers, each started for one measurement and ended with it, so that all systems have the same
conditions.

gearmand assigns connections to its threads in turn, and a round trip changes by half if client and
worker share one. So every measurement opens the same connections in the same order: one for the
driver, then the workers, then the client.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from django_gearman.testing import GearmanServer
from django_gearman.testing.gearmand import free_port
from django_gearman.testing.programs import included_server, installed_gearmand
from tests.support.postgres import Postgres, find_postgres

from .clients import Environment
from .processes import Program, pss, run_to_end, wait_until


@dataclass
class Server:
    """A server of a measurement: its address, for clients and workers, and its process, if known."""

    environment: dict[str, str] = field(default_factory=dict)
    pid: int = 0

    def wait_for_workers(self, count: int) -> None:
        """Wait for a number of workers, if the server can report it."""

    def wait_until_empty(self) -> None:
        """Wait until no job is left, if the server can report it."""

    def memory(self) -> float:
        """Return its resident memory in MB."""
        raise NotImplementedError


class Gearmand(Server):
    def __init__(self, server: GearmanServer) -> None:
        super().__init__({"GEARMAN_SERVERS": server.address}, server.process.pid)
        self._admin = socket.create_connection(("127.0.0.1", server.port))

    def _rows(self) -> list[list[str]]:
        """Return function, total, running and workers of each function."""
        self._admin.sendall(b"status\n")
        answer = b""
        while not (answer == b".\n" or answer.endswith(b"\n.\n")):
            answer += self._admin.recv(65536)
        return [line.split("\t") for line in answer.decode().splitlines()[:-1]]

    def wait_for_workers(self, count: int) -> None:
        def there() -> bool:
            return max((int(workers) for *_, workers in self._rows()), default=0) >= count

        wait_until(there, f"the start of {count} workers")

    def wait_until_empty(self) -> None:
        wait_until(
            lambda: not any(int(total) for _, total, *_ in self._rows()), "the end of the jobs"
        )

    def memory(self) -> float:
        return pss(self.pid)

    def close(self) -> None:
        self._admin.close()


@contextmanager
def _running(process: GearmanServer) -> Iterator[Server]:
    with process:
        server = Gearmand(process)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def gearmand(*, stored: bool = False) -> Iterator[Server]:
    """Run a gearmand with its default options, or with its store in SQLite."""
    with TemporaryDirectory() as name:
        options = ["--queue-type=libsqlite3", f"--libsqlite3-db={name}/jobs"] if stored else []
        with _running(GearmanServer(*options, program=installed_gearmand())) as server:
            yield server


@contextmanager
def included(*, stored: bool = False) -> Iterator[Server]:
    """Run the included server, with its jobs in memory or in its store."""
    with TemporaryDirectory() as name:
        options = [f"--store={name}/jobs"] if stored else []
        with _running(GearmanServer(*options, program=included_server())) as server:
            yield server


@contextmanager
def no_server() -> Iterator[Server]:
    """Run nothing: the system needs no server."""
    yield Server()


@contextmanager
def redis() -> Iterator[Server]:
    """Run a Redis that keeps its data in memory only, like gearmand."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError(
            "redis-server is not installed; Debian: apt-get install redis-server"
        )
    port = free_port()

    def answers() -> bool:
        process.check()
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(100) == b"+PONG\r\n"
        except OSError:
            return False

    with TemporaryDirectory() as name:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", name, "--save", ""]
        with Program([program, *options]) as process:
            wait_until(answers, "the start of Redis")
            yield Server({"REDIS_URL": f"redis://127.0.0.1:{port}/0"}, process.pid)


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a PostgreSQL that writes each commit to the disk."""
    programs = find_postgres()
    if programs is None:
        raise FileNotFoundError("PostgreSQL is not installed; Debian: apt-get install postgresql")
    with Postgres(programs, fsync=True) as database:
        yield Server({"BENCHMARK_POSTGRES": str(database.port)})


@contextmanager
def sqlite(migrate: Sequence[str | Path], variables: Environment) -> Iterator[Server]:
    """Make a database file, with tables by the given command."""
    with TemporaryDirectory() as name:
        environment = {**variables, "BENCHMARK_DATABASE": str(Path(name) / "jobs.sqlite3")}
        run_to_end(migrate, environment)
        yield Server(environment)

"""The systems of the comparison: servers, clients and workers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Self

from . import servers
from .clients import Agent, Client, CompiledClient, Environment
from .marks import FILE
from .processes import ROOT, Program, cpu_seconds, wait_until
from .servers import Server

PYTHON = Path(sys.executable)
BUILD = ROOT / "benchmarks" / "build"

Command = Iterable[str | Path]
Worker = Callable[[Environment, int], Command]
ServerMaker = Callable[[], AbstractContextManager[Server]]


@dataclass(frozen=True)
class System:
    """
    One of the systems; `worker` returns the command of its workers, from the environment and the
    number of processes. It is None if jobs run in the client's own process.
    """

    name: str
    server: ServerMaker
    client: Callable[[Environment], Client]
    worker: Worker | None = None


class Meter:
    """The processor time of processes and their descendants, from now on."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = processes
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        return {part: cpu_seconds(process) for part, process in self._processes.items()}

    def used(self, jobs: int) -> dict[str, float]:
        """Return the microseconds of each of a number of jobs, by part."""
        now = self._now()
        return {part: (now[part] - self._before[part]) / jobs * 1e6 for part in now}


class Stage:
    """A system with its server and client, which end with the block."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._worker: Program | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            marks = stack.enter_context(NamedTemporaryFile(prefix="marks-"))
            self._marks = Path(marks.name)
            stack.callback(Path(f"{marks.name}.sqlite3").unlink, missing_ok=True)
            self.server = stack.enter_context(self.system.server())
            self.environment = {**self.server.environment, FILE: marks.name}
            self._client = stack.enter_context(self.system.client(self.environment))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def call(self, method: str, **arguments: int) -> Any:
        return self._client.call(method, **arguments)

    def meter(self) -> Meter:
        """Begin to measure the processor time of the system's parts."""
        processes = {
            "client": self._client.pid,
            "server": self.server.pid,
            "worker": self._worker.pid if self._worker else 0,
        }
        return Meter({part: process for part, process in processes.items() if process})

    def start_worker(self, processes: int = 1, *, wait: bool = True) -> Program | None:
        """Start the system's worker, if it has one, and wait for it."""
        if self.system.worker is None:
            return None
        command = self.system.worker(self.environment, processes)
        worker = self._stack.enter_context(Program([*command], environment=self.environment))
        self._worker = worker
        if wait:
            self.server.wait_for_workers(processes)
        return worker

    def start_holder(self, slots: int) -> None:
        """Start a worker that holds this number of jobs at once, and wait for it."""
        command: list[str | Path] = [PYTHON, "-m", "benchmarks.holder"]
        command += [port(self.environment), str(slots)]
        self._stack.enter_context(Program(command))
        self.server.wait_for_workers(1)

    def marks(self, count: int, worker: Program) -> list[float]:
        """Wait for a number of marked jobs, and return their times."""

        def all_there() -> bool:
            worker.check()
            return len(self._read()) >= count

        wait_until(all_there, f"{self.system.name}: jobs")
        return self._read()

    def _read(self) -> list[float]:
        return [float(line) for line in self._marks.read_text().splitlines()]


def compile_floor() -> Path:
    """Compile the floor in C; raise FileNotFoundError or RuntimeError on failure."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("gcc is not installed")
    BUILD.mkdir(exist_ok=True)
    program, source = BUILD / "floor", ROOT / "benchmarks" / "floor.c"
    command: list[str | Path] = [compiler, "-O2", "-Wall", "-o", program, source, "-lgearman"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"Debian: apt-get install libgearman-dev; {run.stderr.strip()[:200]}")
    return program


def port(environment: Environment) -> str:
    return environment["GEARMAN_SERVERS"].rpartition(":")[2]


def ours(
    backend: str, server: ServerMaker | None = None, name: str = "", *, stores: bool = False
) -> System:
    variables = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "GEARMAN_BACKEND": backend}
    real = backend in ("gearman", "python-gearman")

    def client(environment: Environment) -> Client:
        more = {"STORE": f"{environment[FILE]}.sqlite3"} if stores else {}
        return Agent(PYTHON, "benchmarks.ours:Client", {**environment, **variables, **more})

    def worker(environment: Environment, processes: int) -> Command:
        more = {"STORE": f"{environment[FILE]}.sqlite3"} if stores else {}
        prefix = ["env", *(f"{name}={value}" for name, value in (variables | more).items())]
        return [*prefix, PYTHON, "manage.py", "gearman_worker", "-w", str(processes)]

    server = server or (servers.gearmand if real else servers.no_server)
    return System(name or backend, server, client, worker if real else None)


def raw(window: int, server: ServerMaker = servers.gearmand, name: str = "") -> System:
    name = name or ("raw Python" if window == 1 else f"raw Python, window {window}")

    def worker(environment: Environment, processes: int) -> Command:
        return [PYTHON, "-m", "benchmarks.raw", port(environment), str(window)]

    return System(name, server, partial(Agent, PYTHON, "benchmarks.raw:Client"), worker)


def compiled() -> System:
    program = compile_floor()

    def worker(environment: Environment, processes: int) -> Command:
        return [program, "worker", port(environment)]

    return System("libgearman C", servers.gearmand, partial(CompiledClient, program), worker)

"""Clients of the driver: processes that receive requests and answer."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from .processes import ROOT, Program

ANSWER_SECONDS = 240.0

Environment = Mapping[str, str]


class Client(Protocol):
    """A process that submits jobs for a measurement; `pid` is 0 if each request has its own."""

    @property
    def pid(self) -> int: ...

    def call(self, method: str, **arguments: int) -> Any:
        """Run a command of the client; `benchmarks.ours.Client` has the list."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...


class Agent(Program):
    """A client in Python: `path` names its class, `benchmarks.ours:Client`."""

    def __init__(self, python: Path, path: str, environment: Environment) -> None:
        super().__init__(
            [python, "-m", "benchmarks.agent", path], environment=environment, talks=True
        )

    def call(self, method: str, **arguments: int) -> Any:
        requests, answers = self.process.stdin, self.process.stdout
        assert requests is not None
        assert answers is not None
        requests.write(json.dumps([method, arguments]) + "\n")
        requests.flush()
        if not select.select([answers], [], [], ANSWER_SECONDS)[0]:
            raise TimeoutError(f"{self.name} gave no answer to {method} in {ANSWER_SECONDS:g} s")
        line = answers.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: {self.last_output()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}, {method}: {answer['error']}")
        return answer["result"]


class CompiledClient:
    """The client in C, a new process for each request."""

    pid = 0

    def __init__(self, program: Path, environment: Environment) -> None:
        self._program = program
        self._port = environment["GEARMAN_SERVERS"].rpartition(":")[2]

    def call(self, method: str, **arguments: int) -> Any:
        numbers = [str(arguments[name]) for name in ("size", "count") if name in arguments]
        run = subprocess.run(
            [self._program, method, self._port, *numbers],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
        )
        if run.returncode:
            raise RuntimeError(f"{self._program} {method}: {run.stderr}")
        times = [int(nanoseconds) / 1e9 for nanoseconds in run.stdout.split()]
        return times if method == "round_trip" else sum(times)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """Do nothing: there is no process to end."""

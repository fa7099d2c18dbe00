"""The job servers' state, for pages and metrics: each is asked over one connection."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial

from django.core.exceptions import ImproperlyConfigured

from ..backends import backend_settings, get_backend_class, parse_servers
from ..backends.opening import open_connection
from ..backends.reach import at_once
from ..exceptions import BackendError
from ..protocol.address import ServerAddress
from ..protocol.admin import parse_priorities, parse_software, parse_status, parse_workers
from ..protocol.names import DELAYED, plain_function
from ..utils.clock import monotonic
from ..utils.text import str_of

#: Seconds that all servers together may take for a page.
PATIENCE = 1.0
#: The longest answer of one command is shown in full; more functions than this are cut off.
_MOST_FUNCTIONS = 10_000


@dataclass
class Counts:
    """
    The jobs of a function, or of several, over one or more servers.

    `high`, `normal` and `low` wait. A server that does not tell priorities has them all in `normal`.
    """

    high: int = 0
    normal: int = 0
    low: int = 0
    delayed: int = 0
    running: int = 0
    workers: int = 0
    #: Jobs wait at a server that has no worker for them.
    is_stranded: bool = False

    @property
    def waiting(self) -> int:
        return self.high + self.normal + self.low

    def add(self, other: Counts) -> None:
        self.high += other.high
        self.normal += other.normal
        self.low += other.low
        self.delayed += other.delayed
        self.running += other.running
        self.workers = max(self.workers, other.workers)  # a worker is connected to every server
        self.is_stranded = self.is_stranded or other.is_stranded


@dataclass(frozen=True)
class ForeignWorker:
    """A connection that serves functions, as its server names it."""

    address: str
    client_id: str
    functions: tuple[str, ...]


@dataclass(frozen=True)
class Server:
    """The state of a job server; with an `error` it is down, `since` a minute after that time."""

    address: str
    software: str = ""
    functions: Mapping[str, Counts] = field(default_factory=dict)
    workers: Sequence[ForeignWorker] = ()
    error: str = ""
    since: datetime.datetime | None = None

    @property
    def queued(self) -> int:
        return sum(each.waiting + each.delayed for each in self.functions.values())

    @property
    def running(self) -> int:
        return sum(each.running for each in self.functions.values())


@dataclass(frozen=True)
class Servers:
    """The states of all job servers; `problem` says why there are none to ask."""

    states: Sequence[Server] = ()
    problem: str = ""

    def functions(self) -> dict[str, Counts]:
        """Return the counts of each function over all servers."""
        found: dict[str, Counts] = {}
        for state in self.states:
            for function, counts in state.functions.items():
                found.setdefault(function, Counts()).add(counts)
        return found


def ask_servers(patience: float = PATIENCE, *, workers: bool = False) -> Servers:
    """
    Ask all servers of GEARMAN_SERVERS, within `patience` seconds in all.

    A server that does not answer has an `error`. With `workers`, it is asked for its workers, too.
    """
    try:
        backend, servers, _ = backend_settings()
        if get_backend_class().local:
            return Servers(
                problem=f"GEARMAN_BACKEND is {backend!r}: jobs run in the process that submits them, "
                "and there is no job server to ask."
            )
        addresses = parse_servers(servers)
    except ImproperlyConfigured as error:
        return Servers(problem=str_of(error))
    until = monotonic() + patience
    asked = at_once({each: partial(ask_server, each, until, workers) for each in addresses})
    return Servers([*asked.values()])


def ask_server(address: ServerAddress, until: float, asks_workers: bool = False) -> Server:
    """Ask one server, until this monotonic time; without an answer, the result has an `error`."""
    name = str(address)
    try:
        with closing(open_connection(address, connect_timeout=_left(until))) as connection:
            status = parse_status(connection.ask("status", _left(until)), strict=False)
            version = connection.ask("version", _left(until), is_line=True)
            software = ""
            priorities: dict[str, tuple[int, int, int]] = {}
            workers = []
            with suppress(BackendError):
                priorities = parse_priorities(connection.ask("prioritystatus", _left(until)))
            with suppress(BackendError):
                software = connection.ask("software", _left(until), is_line=True)
            if asks_workers:
                answer = connection.ask("workers", _left(until))
                workers = [ForeignWorker(*row) for row in parse_workers(answer, strict=False)]
    except BackendError as error:
        return Server(name, error=str_of(error))
    functions = _functions(status[:_MOST_FUNCTIONS], priorities)
    software = parse_software(version, software)
    return Server(name, software, functions, workers)


def _left(until: float) -> float:
    return max(0.001, until - monotonic())


def _functions(
    status: Sequence[tuple[str, int, int, int]], priorities: Mapping[str, tuple[int, int, int]]
) -> dict[str, Counts]:
    """Return the counts of each function, with those of its delayed jobs."""
    found: dict[str, Counts] = {}
    for function, total, running, workers in status:
        waiting = max(0, total - running)
        if function.endswith(DELAYED):
            counts = Counts(delayed=waiting, running=running)
        else:
            high, normal, low = priorities.get(function, (0, waiting, 0))
            counts = Counts(high, normal, low, 0, running, workers)
        found.setdefault(plain_function(function), Counts()).add(counts)
    for counts in found.values():  # a worker asks for delayed jobs when it is idle, and not before
        counts.is_stranded = counts.workers == 0 and counts.waiting + counts.delayed > 0
    return found

"""Metrics of the job servers, as each one reports them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from django.core.exceptions import ImproperlyConfigured
from prometheus_client.core import GaugeMetricFamily, Metric

from ...backends import backend_settings, get_backend_class, parse_servers
from ...exceptions import GearmanError
from ...jobs.functions import job_functions
from ...management.asking import Counts, Server, ask_server
from ...protocol.address import ServerAddress
from ...protocol.names import CONTROL
from ...utils.clock import monotonic
from ...utils.text import printable
from .folding import Folded
from .patience import Look

#: Seconds that a server has for its answers: a little less than the page waits for them.
_SERVER_SECONDS = 0.9


class ServerLooks:
    """The checks of each server of GEARMAN_SERVERS."""

    def __init__(self) -> None:
        self._looks: dict[str, Look[Server]] = {}
        self._names = Folded()

    def begin(self) -> None:
        """Ask all servers at the same time."""
        addresses = () if get_backend_class().local else parse_servers(backend_settings()[1])
        looks = {}
        for address in addresses:
            ask = partial(_ask, address)
            looks[str(address)] = self._looks.get(str(address)) or Look(ask)
        self._looks = looks
        for look in looks.values():
            look.begin()

    def metrics(self, until: float) -> Iterator[Metric]:
        """Yield the metrics of the servers that answer until this monotonic time."""
        states = {name: _state(look, until) for name, look in self._looks.items()}
        return server_metrics(states, self._names)


def server_metrics(states: Mapping[str, Server | None], names: Folded) -> Iterator[Metric]:
    """Yield the metrics of servers, by address; None is for one that has not answered."""
    up = GaugeMetricFamily(
        "gearman_server_up", "1 if a job server answers, 0 if it does not.", labels=["server"]
    )
    jobs = GaugeMetricFamily(
        "gearman_queue_jobs",
        "Jobs of a function on a job server: queued by priority, delayed, and running.",
        labels=["server", "function", "state", "priority"],
    )
    workers = GaugeMetricFamily(
        "gearman_queue_workers",
        "Workers that serve a function, by job server.",
        labels=["server", "function"],
    )
    for name, state in states.items():
        is_up = state is not None and not state.error
        up.add_metric([name], float(is_up))
        for function, counts in (_folded(state, names) if state and is_up else {}).items():
            for (kind, priority), number in _numbers(counts).items():
                jobs.add_metric([name, function, kind, priority], number)
            workers.add_metric([name, function], counts.workers)
    yield from (up, jobs, workers)


def _folded(server: Server, names: Folded) -> dict[str, Counts]:
    """Return the counts of each function; unknown ones above a number count as one."""
    known = _known()
    found: dict[str, Counts] = {}
    for function, counts in server.functions.items():
        if CONTROL in function:  # of a gearman_worker; its name has a host and a process
            continue
        label = names.label(printable(function), is_known=function in known)
        found.setdefault(label, Counts()).add(counts)
    return found


def _known() -> Mapping[str, object]:
    try:
        return job_functions()
    except (GearmanError, ImproperlyConfigured):  # a check says so
        return {}


def _numbers(counts: Counts) -> dict[tuple[str, str], int]:
    """Return the numbers of jobs by state and priority; only queued ones have a known priority."""
    return {
        ("queued", "high"): counts.high,
        ("queued", "normal"): counts.normal,
        ("queued", "low"): counts.low,
        ("delayed", ""): counts.delayed,
        ("running", ""): counts.running,
    }


def _ask(address: ServerAddress) -> Server:
    return ask_server(address, monotonic() + _SERVER_SECONDS)


def _state(look: Look[Server], until: float) -> Server | None:
    try:
        return look.result(until)
    except TimeoutError:  # for example because its name is not resolved
        return None

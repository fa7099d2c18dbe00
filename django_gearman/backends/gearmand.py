"""
"gearman": real job servers, over our own protocol code.

A handle above this transport is "host:port//H:name:1": gearmand's own handles mean nothing without
the server that made them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict

from ..clock import monotonic
from ..connection import ping
from ..exceptions import BackendError, ConnectionLost, ServerUnavailable
from ..protocol import PacketType, frame, parse_status, parse_workers, to_bytes
from ..server import Server
from .base import (
    DELAYED,
    BaseBackend,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Priority,
    Submission,
    UnsentSubmission,
    WorkerStatus,
)
from .gearmand_client import Channel, SocketOptions
from .gearmand_worker import SocketWorkerSession
from .real_servers import (
    batches,
    check_seconds,
    function_rows,
    rank,
    split_handle,
    unavailable,
    worker_rows,
)
from .specs import check_specs
from .uniques import wire_unique

_SUBMIT = {
    (Priority.NORMAL, False): PacketType.SUBMIT_JOB,
    (Priority.NORMAL, True): PacketType.SUBMIT_JOB_BG,
    (Priority.HIGH, False): PacketType.SUBMIT_JOB_HIGH,
    (Priority.HIGH, True): PacketType.SUBMIT_JOB_HIGH_BG,
    (Priority.LOW, False): PacketType.SUBMIT_JOB_LOW,
    (Priority.LOW, True): PacketType.SUBMIT_JOB_LOW_BG,
}
_LATEST = 2.0**62  # of the times that gearmand understands


class GearmandBackend(BaseBackend):
    """
    Real job servers.

    A job goes to the server that its unique chooses, so that equal uniques meet there; to the next
    one while that is down. For the keyword arguments see `SocketOptions`.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        connect_timeout: float = 5.0,
        send_timeout: float = 30.0,
        reply_timeout: float = 10.0,
        status_interval: float = 5.0,
        down_time: float = 10.0,
    ) -> None:
        self._servers = {str(server): server for server in servers}
        self._options = SocketOptions(
            connect_timeout, send_timeout, reply_timeout, status_interval, down_time
        )
        check_seconds(asdict(self._options))
        # By address; of those that are down, until when and why.
        self._channels: dict[str, Channel] = {}
        self._down: dict[str, tuple[float, BackendError]] = {}

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        check_specs(specs)
        submissions: dict[int, Submission] = {}
        unsent: Sequence[int] = range(len(specs))
        while unsent:
            try:
                routes = self._route(specs, unsent)
            except ServerUnavailable as error:
                if not submissions:
                    raise
                submissions.update((place, UnsentSubmission(error)) for place in unsent)
                break
            unsent = []
            for channel, places in routes.items():
                for batch in batches(places, [len(specs[place].workload) for place in places]):
                    sent = channel.submit([specs[place] for place in batch], _encode_job)
                    submissions.update(zip(batch, sent, strict=False))
                    unsent += batch[len(sent) :]  # the channel has broken; they can go elsewhere
        return [submissions[place] for place in range(len(specs))]

    def _route(
        self, specs: Sequence[JobSpec], places: Sequence[int]
    ) -> Mapping[Channel, Sequence[int]]:
        """Choose a live connection for each job."""
        if len(self._servers) == 1:
            [address] = self._servers
            if (only := self._reach(address)) is None:
                raise self._unavailable(self._servers, "submit the job")
            return {only: places}
        routes: dict[Channel, list[int]] = {}
        reached: dict[str, Channel | None] = {}
        for place in places:
            for address in self._preferred(specs[place]):
                if address not in reached:
                    reached[address] = self._reach(address)
                channel = reached[address]
                if channel is not None:
                    routes.setdefault(channel, []).append(place)
                    break
            else:
                raise self._unavailable(self._servers, "submit the job")
        return routes

    def _preferred(self, spec: JobSpec) -> list[str]:
        """Order the servers for a job: equal uniques agree, and those believed down come last."""
        now = monotonic()
        return sorted(
            self._servers,
            key=lambda address: (
                address in self._down and self._down[address][0] > now,
                rank(spec.unique or str(now), address),
            ),
        )

    def _reach(self, address: str) -> Channel | None:
        """Return a connection to the server, the one there was if it lives; None if it is down."""
        channel = self._channels.get(address)
        if channel is not None:
            if channel.is_alive():
                return channel
            channel.close()
        try:
            channel = Channel(self._servers[address], self._options)
        except BackendError as error:
            self._channels.pop(address, None)
            self._down[address] = (monotonic() + self._options.down_time, error)
            return None
        self._channels[address] = channel
        self._down.pop(address, None)
        return channel

    def _unavailable(self, addresses: Iterable[str], purpose: str) -> ServerUnavailable:
        reasons = [self._down[each][1] for each in addresses if each in self._down]
        return unavailable(purpose, reasons)

    def job_status(self, handle: str) -> JobStatus:
        address, own_handle = split_handle(handle, self._servers)
        channel = self._reach(address)
        if channel is None:
            raise self._unavailable([address], f"ask about job {handle}")
        return channel.job_status(own_handle)

    def functions(self) -> list[FunctionStatus]:
        return function_rows(
            (address, *row)
            for address, server in self._servers.items()
            for row in parse_status(self._ask(server, "status"), strict=False)
        )

    def workers(self) -> list[WorkerStatus]:
        return worker_rows(
            (address, *row)
            for address, server in self._servers.items()
            for row in parse_workers(self._ask(server, "workers"), strict=False)
        )

    def _ask(self, server: Server, command: str) -> str:
        try:
            with closing(self._options.connect(server)) as connection:
                return connection.ask(command, self._options.reply_timeout)
        except ConnectionLost as error:
            raise ServerUnavailable(str(error)) from error

    def register(self, functions: Sequence[str], client_id: str = "") -> SocketWorkerSession:
        servers = list(self._servers.values())
        return SocketWorkerSession(servers, functions, client_id, self._options)

    def ping(self, timeout: float) -> Mapping[str, BackendError | None]:
        return {address: ping(server, timeout) for address, server in self._servers.items()}

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


def _encode_job(spec: JobSpec) -> tuple[bytes, bytes]:
    """Return the bytes that submit a job."""
    function, workload, _, priority, background, run_at, external = spec
    unique = wire_unique(spec)
    if run_at is None:
        start = b"%b\0%b\0" % (to_bytes(function), unique)
        return frame(_SUBMIT[priority, background], start, workload)
    when = math.ceil(min(max(run_at, 0.0), _LATEST))
    queue = function if external else function + DELAYED
    start = b"%b\0%b\0%d\0" % (to_bytes(queue), unique, when)
    return frame(PacketType.SUBMIT_JOB_EPOCH, start, workload)

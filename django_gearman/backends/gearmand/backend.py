""" "gearman": real job servers, with our own protocol code."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial

from ...exceptions import BackendError, ConnectionLost, ServerUnavailable
from ...protocol.address import ServerAddress
from ...protocol.admin import parse_status, parse_workers
from ...protocol.names import routing_key, split_handle
from ...utils.clock import monotonic
from ...utils.waiting import submit_by
from ..base import (
    BaseBackend,
    FunctionStatus,
    JobSpec,
    JobStatus,
    ServerAnswer,
    SpecBatch,
    Submission,
    WorkerStatus,
)
from ..opening import ping_all, probe_all
from ..reach import Race, at_once
from ..remote import (
    check_options,
    function_rows,
    rank,
    servers_standing,
    unavailable,
    worker_rows,
)
from ..sending import Sending
from ..specs import check_batch, check_specs
from .client import ClientConnection
from .loop_backend import GearmandLoop
from .options import GearmandOptions
from .slots import SlotsSession
from .worker import GearmandWorkerSession

_HEAD_START = 0.25  # seconds until the next server is tried as well
_UNIQUE_HEAD_START = 1.0  # for jobs with a unique, which should merge
_LAST_RESORT = 1.0  # until servers are tried that failed lately


class GearmandBackend(BaseBackend):
    """
    Real job servers.

    A job goes to the server that its unique chooses, so that equal uniques meet there; to the next
    one while that is down. For the keyword arguments see `GearmandOptions`.
    """

    supports_slots = True

    def __init__(
        self,
        servers: Sequence[ServerAddress],
        *,
        connect_timeout: float = 5.0,
        send_timeout: float = 30.0,
        reply_timeout: float = 10.0,
        status_interval: float = 5.0,
        down_time: float = 10.0,
        submit_timeout: float = 15.0,
    ) -> None:
        self._servers = {str(server): server for server in servers}
        self._options = GearmandOptions(
            connect_timeout,
            send_timeout,
            reply_timeout,
            status_interval,
            down_time,
            submit_timeout,
        )
        check_options(asdict(self._options))
        self._channels: dict[str, ClientConnection] = {}  # by address
        self._on_loops: dict[asyncio.AbstractEventLoop, GearmandLoop] = {}

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        check_specs(specs)
        limit = submit_by.get()
        until = monotonic() + self._options.submit_timeout if limit is None else limit
        if len(specs) == len(self._servers) == 1:
            [address] = self._servers  # what is most frequent, in few steps
            channel = self._live(address)
            if channel and (
                sent := channel.submit_one(specs[0], until, is_strict=limit is not None)
            ):
                return [sent]
        return [*self._submit(specs, until, is_strict=limit is not None)]

    def submit_batch(self, specs: SpecBatch) -> Sequence[Submission]:
        check_batch(specs)
        limit = submit_by.get()
        until = monotonic() + self._options.submit_timeout if limit is None else limit
        return self._submit(specs, until, is_strict=limit is not None)

    def _submit(
        self, specs: Sequence[JobSpec], until: float, *, is_strict: bool
    ) -> Sequence[Submission]:
        sending: Sending[Submission] = Sending(specs)
        while sending.unsent:
            try:
                routes = self._route(specs, sending.unsent, until)
            except ServerUnavailable as error:
                sending.give_up(error)
                break
            for channel, batch, jobs in sending.batches(routes):
                sending.sent(batch, channel.submit(jobs, until, is_strict=is_strict))
        return sending.submissions()

    def _route(
        self, specs: Sequence[JobSpec], places: Sequence[int], until: float
    ) -> Mapping[ClientConnection, Sequence[int]]:
        """Choose a live connection for each job."""
        if monotonic() >= until:
            raise unavailable("submit the job", ["the time given for it is up"])
        if len(self._servers) == 1:
            [address] = self._servers
            return {self._live(address) or self._open([address], until): places}
        routes: dict[ClientConnection, list[int]] = {}
        chosen: dict[str, ClientConnection] = {}  # by routing key
        for place in places:
            key = routing_key(specs[place].unique)
            channel = chosen.get(key) if key else None
            if channel is None:
                channel = chosen[key] = self._choose(specs[place], until)
            routes.setdefault(channel, []).append(place)
        return routes

    def _choose(self, spec: JobSpec, until: float) -> ClientConnection:
        order = self.preferred(spec)
        channel = self._live(order[0])
        return channel or self._open(order, until, _UNIQUE_HEAD_START * bool(spec.unique))

    def preferred(self, spec: JobSpec) -> list[str]:
        """
        Order the servers for a job: equal uniques get the same order, and failed servers come last.
        """
        seed = routing_key(spec.unique) or str(monotonic())
        return sorted(
            self._servers, key=lambda address: (self._is_passed_over(address), rank(seed, address))
        )

    def _is_passed_over(self, address: str) -> bool:
        return servers_standing.passed_over(address, self._options.down_time)

    def _live(self, address: str) -> ClientConnection | None:
        """Return the open connection to the server, if it is alive."""
        channel = self._channels.get(address)
        if channel is None or channel.is_alive():
            return channel
        channel.close()
        del self._channels[address]
        return None

    def _open(
        self, addresses: Sequence[str], until: float = math.inf, head_start: float = 0.0
    ) -> ClientConnection:
        """
        Return a connection to the first of the servers that answers.

        If a server has not answered after a moment, at least `head_start` seconds, the next one is
        tried as well. Servers that failed lately come last.
        """
        attempts = {address: partial(self._connect, address, until) for address in addresses}
        race = Race(attempts, servers_standing, self._discard)
        if len(addresses) == 1:
            won = race.run_here(addresses[0])
        else:
            won = race.run(self.pauses(addresses, until - monotonic(), head_start), until)
        if won is None:
            reasons = [self._reason(race, address) for address in addresses]
            raise unavailable("submit the job", reasons)
        address, channel = won
        self._channels[address] = channel
        return channel

    def _connect(self, address: str, until: float) -> ClientConnection:
        channel = self._channels.get(address)
        if channel is not None and channel.is_alive():
            return channel
        return ClientConnection(self._servers[address], self._options, until)

    def _discard(self, channel: ClientConnection) -> None:
        if self._channels.get(str(channel.server)) is not channel:
            channel.close()

    def pauses(
        self, addresses: Sequence[str], seconds: float, head_start: float
    ) -> Sequence[float]:
        pause = min(max(_HEAD_START, head_start), seconds / 4)
        pauses = [pause / 2**place for place in range(len(addresses))]
        fresh = sum(not self._is_passed_over(address) for address in addresses)
        if fresh > 0:
            pauses[fresh - 1] = min(_LAST_RESORT, seconds / 4)
        return pauses

    def _reason(self, race: Race[str, ClientConnection], address: str) -> str:
        """Return the reason why a server was not reached."""
        if (error := race.errors.get(address)) is not None:
            silences = servers_standing.silences(address)
            return f"{error} ({silences} times in a row)" if silences > 1 else str(error)
        if (began := race.began.get(address)) is not None:
            return f"job server {address}: no answer yet after {monotonic() - began:.2g} s"
        return f"job server {address}: not tried, as the time was up"

    def job_status(self, handle: str) -> JobStatus:
        address, own_handle = split_handle(handle, self._servers)
        channel = self._live(address)
        if channel is None:
            try:
                channel = self._open([address])
            except ServerUnavailable as error:
                raise unavailable(f"ask about job {handle}", [error]) from error
        return channel.job_status(own_handle)

    def functions(self) -> list[FunctionStatus]:
        answers = self._ask_all("status")
        return function_rows(
            (address, *row)
            for address, answer in answers.items()
            for row in parse_status(answer, strict=False)
        )

    def workers(self) -> list[WorkerStatus]:
        answers = self._ask_all("workers")
        return worker_rows(
            (address, *row)
            for address, answer in answers.items()
            for row in parse_workers(answer, strict=False)
        )

    def _ask_all(self, command: str) -> Mapping[str, str]:
        """Return each server's answer to an admin command, by its address."""
        limit = submit_by.get()
        until = monotonic() + self._options.submit_timeout if limit is None else limit
        return at_once(
            {
                address: partial(self._ask, server, command, until)
                for address, server in self._servers.items()
            }
        )

    def _ask(self, server: ServerAddress, command: str, until: float) -> str:
        try:
            with closing(self._options.connect(server, until)) as connection:
                patience = min(self._options.reply_timeout, until - monotonic())
                return connection.ask(command, max(0.0, patience))
        except ConnectionLost as error:
            raise ServerUnavailable(str(error)) from error

    def register(
        self, functions: Sequence[str], client_id: str = "", slots: int = 1
    ) -> GearmandWorkerSession:
        servers = list(self._servers.values())
        if slots == 1:
            return GearmandWorkerSession(servers, functions, client_id, self._options)
        return SlotsSession(servers, functions, client_id, self._options, slots)

    def on_loop(self) -> GearmandLoop:
        loop = asyncio.get_running_loop()
        half = self._on_loops.get(loop)
        if half is None:
            self._on_loops = {
                each: half for each, half in self._on_loops.items() if not each.is_closed()
            }
            half = self._on_loops[loop] = GearmandLoop(self, self._servers, self._options)
        return half

    def ping(self, timeout: float) -> Mapping[str, BackendError | None]:
        return ping_all(self._servers.values(), timeout)

    def probe(self, timeout: float) -> Mapping[str, ServerAnswer]:
        return probe_all(self._servers.values(), timeout)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

"""The asynchronous half of "gearman": one connection for each event loop and server."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ...exceptions import BackendError, ConnectionLost, ServerUnavailable
from ...protocol.address import ServerAddress
from ...protocol.admin import parse_status
from ...protocol.names import split_handle
from ...utils.clock import monotonic
from ..base import (
    AwaitableSubmission,
    FunctionStatus,
    JobSpec,
    JobStatus,
    LoopBackend,
    SpecBatch,
    Submission,
)
from ..remote import function_rows, servers_standing, unavailable
from ..sending import Sending
from ..specs import check_batch, check_specs
from .loop_channel import LoopChannel
from .loop_opening import ask_admin, open_channel
from .loop_submission import LoopSubmission
from .options import GearmandOptions

_S = TypeVar("_S", Submission, AwaitableSubmission)

_UNIQUE_HEAD_START = 1.0  # for jobs with a unique, which should merge


class Choice(Protocol):
    """The choice among several servers, which threads and loops share."""

    def preferred(self, spec: JobSpec) -> list[str]: ...

    def pauses(
        self, addresses: Sequence[str], seconds: float, head_start: float
    ) -> Sequence[float]: ...


class GearmandLoop(LoopBackend):
    """
    Real job servers, for the tasks of one event loop.

    The connections are closed when the loop shuts down its asynchronous generators, as
    `asyncio.run` does.
    """

    def __init__(
        self, choice: Choice, servers: Mapping[str, ServerAddress], options: GearmandOptions
    ) -> None:
        self._choice = choice
        self._servers = servers
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._channels: dict[str, LoopChannel] = {}
        self._opening: dict[str, _Attempt] = {}
        self._keeper: AsyncGenerator[None, None] | None = None

    async def submit(
        self, specs: Sequence[JobSpec], until: float | None = None, *, acknowledged: bool = True
    ) -> list[AwaitableSubmission]:
        check_specs(specs)

        async def send(
            channel: LoopChannel, jobs: Sequence[JobSpec]
        ) -> Sequence[AwaitableSubmission]:
            sent = channel.send(jobs)
            if len(jobs) > 1:
                channel.flush()
            await channel.writable()
            return sent

        limit = monotonic() + self._options.submit_timeout if until is None else until
        submissions = [*await self._submit(specs, limit, send)]
        for submission in submissions if acknowledged else ():
            if isinstance(submission, LoopSubmission):
                # Without a limit of the caller, the channel notices a server that does not answer.
                await _acknowledged(submission, math.inf if until is None else until)
        return submissions

    async def submit_batch(self, specs: SpecBatch) -> Sequence[Submission]:
        check_batch(specs)

        async def send(channel: LoopChannel, jobs: Sequence[JobSpec]) -> Sequence[Submission]:
            if isinstance(jobs, SpecBatch):
                queued = channel.send_batch(jobs)
                await queued.done  # the channel notices a server that does not answer
                return queued
            sent = channel.send(jobs)  # uniques far apart, for several servers
            for submission in sent:
                await _acknowledged(submission, math.inf)
            return sent

        return await self._submit(specs, monotonic() + self._options.submit_timeout, send)

    async def _submit(
        self,
        specs: Sequence[JobSpec],
        limit: float,
        send: Callable[[LoopChannel, Sequence[JobSpec]], Awaitable[Sequence[_S]]],
    ) -> Sequence[_S]:
        """Let `send` send each of the jobs over a live channel, until the monotonic time `limit`."""
        sending: Sending[_S] = Sending(specs)
        while sending.unsent:
            try:
                routes = await self._route(specs, sending.unsent, limit)
            except ServerUnavailable as error:
                sending.give_up(error)
                break
            for channel, batch, jobs in sending.batches(routes):
                sent = [] if channel.broken is not None else await send(channel, jobs)
                sending.sent(batch, sent)
        return sending.submissions()

    def send_now(self, spec: JobSpec) -> AwaitableSubmission | None:
        check_specs([spec])
        if len(self._servers) == 1:
            [address] = self._servers
            channel = self._live(address)
            if channel is not None and not channel.is_paused:
                return channel.send_one(spec)
        return None

    async def job_status(self, handle: str) -> JobStatus:
        address, own_handle = split_handle(handle, self._servers)
        try:
            limit = monotonic() + self._options.submit_timeout
            channel = self._live(address) or await self._open([address], limit)
        except ServerUnavailable as error:
            raise unavailable(f"ask about job {handle}", [error]) from error
        return await channel.job_status(own_handle)

    async def functions(self, timeout: float) -> list[FunctionStatus]:
        rows = []
        for address, server in self._servers.items():
            try:
                async with asyncio.timeout(timeout):
                    answer = await ask_admin(server, self._options, "status")
            except (ConnectionLost, TimeoutError) as error:
                raise ServerUnavailable(str(error)) from error
            rows += [(address, *row) for row in parse_status(answer, strict=False)]
        return function_rows(rows)

    async def _route(
        self, specs: Sequence[JobSpec], places: Sequence[int], until: float
    ) -> Mapping[LoopChannel, Sequence[int]]:
        """Choose a live connection for each job."""
        if monotonic() >= until:
            raise unavailable("submit the job", ["the time given for it is up"])
        if len(self._servers) == 1:
            [address] = self._servers
            return {self._live(address) or await self._open([address], until): places}
        routes: dict[LoopChannel, list[int]] = {}
        reached: dict[str, LoopChannel] = {}
        for place in places:
            order = self._choice.preferred(specs[place])
            channel = reached.get(order[0]) or self._live(order[0])
            if channel is None:
                head_start = _UNIQUE_HEAD_START * bool(specs[place].unique)
                channel = await self._open(order, until, head_start)
            reached[str(channel.server)] = reached[order[0]] = channel
            routes.setdefault(channel, []).append(place)
        return routes

    def _live(self, address: str) -> LoopChannel | None:
        channel = self._channels.get(address)
        return None if channel is None or channel.broken is not None else channel

    async def _open(
        self, addresses: Sequence[str], until: float, head_start: float = 0.0
    ) -> LoopChannel:
        """
        Return a connection to the first of the servers that answers.

        If a server has not answered after a moment, the next one is tried as well. A cancelled
        caller leaves the attempts to the others.
        """
        pauses = self._choice.pauses(addresses, until - monotonic(), head_start)
        attempts: dict[asyncio.Future[asyncio.Task[LoopChannel]], str] = {}
        reasons: dict[str, object] = {}
        for address, pause in zip(addresses, pauses, strict=True):
            attempts[self._attempt(address)] = address
            is_last = address == addresses[-1]
            patience = monotonic() + pause
            while attempts and (remaining := (until if is_last else patience) - monotonic()) > 0:
                done, _ = await asyncio.wait(
                    attempts, timeout=remaining, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in done:
                    task = attempt.result()
                    error = task.exception() if not task.cancelled() else None
                    if error is None and not task.cancelled():
                        return task.result()
                    reasons[attempts.pop(attempt)] = error
                if done and not is_last:
                    break
            if address in attempts.values():
                servers_standing.slow(address)
        for address in addresses:
            reasons.setdefault(address, f"job server {address}: no answer yet")
        raise unavailable("submit the job", [reasons[address] for address in addresses])

    def _attempt(self, address: str) -> asyncio.Future[asyncio.Task[LoopChannel]]:
        """Return when the attempt to connect has ended that is under way; or begin one."""
        attempt = self._opening.get(address)
        if attempt is None or attempt.task.done():
            attempt = self._opening[address] = _Attempt(self._connect(address), self._loop)
        attempt.callers.append(caller := self._loop.create_future())
        return caller

    async def _connect(self, address: str) -> LoopChannel:
        if (channel := self._live(address)) is not None:
            return channel
        if self._keeper is None:
            self._keeper = self._keep()
            await anext(self._keeper)
        began = monotonic()
        try:
            channel = await open_channel(self._servers[address], self._options)
        except BackendError:
            servers_standing.failed(address, monotonic() - began)
            raise
        servers_standing.answered(address)
        self._channels[address] = channel
        return channel

    async def _keep(self) -> AsyncGenerator[None, None]:
        """Close the connections when the loop closes this generator."""
        try:
            yield
        finally:
            ended = [channel.ended for channel in self._channels.values()]
            self._close()
            if ended:
                await asyncio.wait(ended, timeout=2.0)

    def close(self) -> None:
        """Close the connections, from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


class _Attempt:
    """
    An attempt to connect, for any number of callers.

    Each has a future of its own: a task would look through the callbacks of all when one leaves.
    """

    def __init__(
        self, connect: Coroutine[Any, Any, LoopChannel], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.callers: list[asyncio.Future[asyncio.Task[LoopChannel]]] = []
        context = contextvars.Context()
        self.task = loop.create_task(connect, name="gearman-connect", context=context)
        self.task.add_done_callback(self._tell)

    def _tell(self, task: asyncio.Task[LoopChannel]) -> None:
        if not task.cancelled():
            task.exception()  # it counts as seen, also if all callers have gone
        for caller in self.callers:
            if not caller.done():
                caller.set_result(task)
        self.callers.clear()


async def _acknowledged(submission: LoopSubmission, until: float) -> None:
    """Wait for the server's answer; if there is none in time, the job may or may not be queued."""
    try:
        if not await submission.acknowledged(until):
            submission.give_up()
    except BaseException:
        submission.release()
        raise

"""A Gearman job server on asyncio: one thread, one process, any number of connections."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from dataclasses import dataclass
from pathlib import Path

from ..utils.records import get_logger
from .dispatcher import Dispatcher
from .peer import Limits, Peer

logger = get_logger(__name__)

_LEAVE_SECONDS = 1.0  # for peers to read their last data


@dataclass(frozen=True)
class Remains:
    """The jobs that a stopped server leaves: lost ones, and stored ones."""

    foreground: int
    background: int
    stored: int


class JobServer:
    """
    A job server; with `store`, a file keeps its background jobs.

    The constructor opens the store, and raises JournalError if it cannot. `bind` reserves the
    address, `start` listens there, `stop` ends the server. All of them run in an event loop.
    """

    def __init__(
        self,
        *,
        store: Path | None = None,
        max_queued: int = 0,
        limits: Limits | None = None,
        look_seconds: float = 10.0,  # between checks for peers that have stopped within a request
    ) -> None:
        self.dispatcher = Dispatcher(store=store, max_queued=max_queued)
        self._limits = limits or Limits()
        self._look_seconds = look_seconds
        self._numbers = itertools.count(1)
        self._peers: set[Peer] = set()
        self._listener: asyncio.Server | None = None
        self._look: asyncio.TimerHandle | None = None

    async def bind(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """Reserve an address, without listening there yet. Raises OSError on failure."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._make_peer, host, port, ssl=tls, backlog=1024, start_serving=False
        )

    async def start(self) -> list[tuple[str, int]]:
        """Load the stored jobs, and listen; return the addresses. Raises OSError if that cannot be."""
        assert self._listener is not None, "start() comes after bind()"
        self.dispatcher.start()
        self._close_half_requests()
        await self._listener.start_serving()
        return [each.getsockname()[:2] for each in self._listener.sockets]

    def _make_peer(self) -> Peer:
        return Peer(self.dispatcher, self._limits, next(self._numbers), self._peers)

    @property
    def job_count(self) -> int:
        return len(self.dispatcher.table.jobs)

    def shut_down(self) -> None:
        """Make `wait_shutdown` return."""
        self.dispatcher.shutdown.set()

    async def wait_shutdown(self) -> None:
        """Wait until an administrator requests the shutdown."""
        await self.dispatcher.shutdown.wait()

    async def stop(self) -> Remains:
        """Stop listening, close the store and all connections; return the jobs that are left."""
        if self._listener is not None:
            self._listener.close()
        if self._look is not None:
            self._look.cancel()
        jobs = list(self.dispatcher.table.jobs.values())
        await self.dispatcher.stop()
        for peer in list(self._peers):
            peer.close()
        leave_at = asyncio.get_running_loop().time() + _LEAVE_SECONDS
        while self._peers and asyncio.get_running_loop().time() < leave_at:
            await asyncio.sleep(0.01)
        stored = sum(job.row > 0 for job in jobs)
        background = sum(job.background and not job.row for job in jobs)
        return Remains(len(jobs) - stored - background, background, stored)

    def _close_half_requests(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(self._look_seconds, self._close_half_requests)
        oldest = loop.time() - self._limits.half_request_seconds
        for peer in list(self._peers):
            if peer.is_within_request and peer.heard_at < oldest:
                logger.warning("%s stopped in the middle of a request; it is closed", peer.name)
                peer.close()

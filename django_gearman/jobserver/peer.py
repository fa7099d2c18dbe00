"""One connection of a job server: a client, a worker, an administrator, or all at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from ..exceptions import ProtocolError
from ..protocol.packets import RESPONSE, PacketType, encode, frame
from ..utils.records import get_logger
from . import admin
from .dispatcher import Dispatcher, Recipient, Slot, created
from .job_table import QueueFull
from .reader import RequestReader
from .state import HIGH, LOW, NORMAL, Job, Offer, State, Worker

logger = get_logger(__name__)

_SUBMITS: Mapping[PacketType, tuple[int, bool]] = {
    PacketType.SUBMIT_JOB: (NORMAL, False),
    PacketType.SUBMIT_JOB_BG: (NORMAL, True),
    PacketType.SUBMIT_JOB_HIGH: (HIGH, False),
    PacketType.SUBMIT_JOB_HIGH_BG: (HIGH, True),
    PacketType.SUBMIT_JOB_LOW: (LOW, False),
    PacketType.SUBMIT_JOB_LOW_BG: (LOW, True),
}
_MOST_FUNCTION, _MOST_UNIQUE, _MOST_CLIENT_ID = 512, 64, 127  # bytes
_NOOP = encode(PacketType.NOOP, magic=RESPONSE)
_NO_JOB = encode(PacketType.NO_JOB, magic=RESPONSE)
_NOT_IN_HAND = b"JOB_NOT_FOUND", b"Job given in work result not found"


@dataclass(frozen=True)
class Limits:
    """Limits of one connection."""

    packet: int = 256 << 20  # bytes of one request
    unread: int = 256 << 20  # bytes that it may leave unread
    half_request_seconds: float = 60.0  # between two parts of one request


class Peer(asyncio.Protocol, Recipient):
    """
    A connection, and the job table's view of it.

    Answers keep the order of the requests: while one waits for the store, later output waits too.
    """

    def __init__(
        self, dispatcher: Dispatcher, limits: Limits, number: int, peers: set[Peer]
    ) -> None:
        self.number = number
        self.address = ""
        self.worker = Worker(self)
        self.heard_at = 0.0  # by the event loop's clock
        self._dispatcher = dispatcher
        self._table = dispatcher.table
        self._limits = limits
        self._peers = peers
        self._wants_exceptions = False
        self._is_loopback = False
        self._reader = RequestReader(limits.packet)
        self._out: list[bytes] = []
        self._held: deque[bytes | Slot] = deque()
        self._is_closing = False

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.address = str(address[0]) if address else "local"
        self._is_loopback = self.address in ("127.0.0.1", "::1", "local")
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()
        self._dispatcher.peers[self] = None
        self._peers.add(self)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            for kind, args in self._reader.feed(data):
                if self._is_closing:
                    break
                if kind is None:
                    self._command(args[0])
                else:
                    handle = _HANDLERS.get(kind)
                    if handle is None:
                        self.error(b"INVALID_COMMAND", b"Command not expected")
                    else:
                        handle(self, kind, args)
        except ProtocolError as error:
            logger.warning("%s: %s; the connection is closed", self.name, error)
            self.error(b"INVALID_PACKET", str(error).encode(errors="replace")[:200])
            self.close()
        self._dispatcher.flush()

    @property
    def is_within_request(self) -> bool:
        return self._reader.is_within

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # a client that reads no answers may send no more requests

    def resume_writing(self) -> None:
        if not self._is_closing:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_closing = True
        self._peers.discard(self)
        self._dispatcher.left(self)

    # Output

    @property
    def name(self) -> str:
        return f"peer {self.number} at {self.address}"

    def send(self, data: bytes) -> None:
        if self._held:
            self._held.append(data)
        else:
            self._out.append(data)
            self._dispatcher.dirty[self] = None

    def answer(self, kind: PacketType, *args: bytes) -> None:
        self.send(encode(kind, *args, magic=RESPONSE))

    def error(self, code: bytes, text: bytes) -> None:
        self.answer(PacketType.ERROR, code, text)

    def flush(self) -> None:
        if self._is_closing:
            self._out.clear()
            return
        data = b"".join(self._out)
        self._out.clear()
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._limits.unread:
            logger.warning(
                "%s has left %d bytes unread; the connection is closed",
                *(self.name, self._transport.get_write_buffer_size()),
            )
            self._is_closing = True
            self._transport.abort()

    def close(self) -> None:
        """Send the pending output, and close."""
        if not self._is_closing:
            self.flush()
            self._is_closing = True
            self._transport.close()

    def release(self) -> None:
        """Send the output that waited for the store, up to the next answer that still waits."""
        while self._held:
            first = self._held[0]
            data = first.data if isinstance(first, Slot) else first
            if data is None:
                break
            self._held.popleft()
            self._out.append(data)
        self._dispatcher.dirty[self] = None

    # Requests of clients

    def _submit(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        band, background = _SUBMITS[kind]
        function, unique, workload = args
        self._offer(Offer(function, unique, workload, band, background))

    def _submit_epoch(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        function, unique, when, workload = args
        run_at = float(when) if when.isdigit() and len(when) < 20 else None
        self._offer(Offer(function, unique, workload, NORMAL, True, run_at))

    def _offer(self, offer: Offer) -> None:
        if not self._is_function(offer.function):
            return
        if len(offer.unique) > _MOST_UNIQUE:
            self.error(b"ARGUMENT_TOO_LARGE", b"Unique value too large")
        else:
            try:
                job = self._dispatcher.submit(None if offer.background else self, offer)
            except QueueFull as full:
                self.error(b"QUEUE_ERROR", str(full).encode())
                return
            waiting = self._dispatcher.storing.get(job)
            if waiting is None:
                self.send(created(job))
            else:
                waiting.append(slot := Slot(self))
                self._held.append(slot)

    def _is_function(self, name: bytes) -> bool:
        """Return True for a valid function name; otherwise answer with an error."""
        if 0 < len(name) <= _MOST_FUNCTION:
            return True
        self.error(b"ARGUMENT_TOO_LARGE", b"A function name has 1 to %d bytes" % _MOST_FUNCTION)
        return False

    def _get_status(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        handle = args[0].partition(b"\0")[0]
        self.answer(PacketType.STATUS_RES, handle, *_status(self._table.jobs.get(handle)))

    def _get_status_unique(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        unique = args[0].partition(b"\0")[0]
        job = self._table.find_unique(unique, self.worker)
        clients = b"%d" % (len(set(job.clients)) if job is not None else 0)
        self.answer(PacketType.STATUS_RES_UNIQUE, unique, *_status(job), clients)

    def _option(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        if args[0].lower() != b"exceptions":
            self.error(b"UNKNOWN_OPTION", b"Server does not recognize given option")
            return
        self._wants_exceptions = True
        self.answer(PacketType.OPTION_RES, args[0])

    def _echo(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        self.answer(PacketType.ECHO_RES, args[0])

    # Requests of workers

    def _can_do(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        timeout = 0.0
        if kind is PacketType.CAN_DO_TIMEOUT and args[1].isdigit() and len(args[1]) < 10:
            timeout = max(1000, int(args[1])) / 1000 if int(args[1]) else 0.0
        if self._is_function(args[0]):
            self._table.can_do(self.worker, args[0], timeout)

    def _cant_do(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        self._dispatcher.wake(self._table.cant_do(self.worker, args[0]))

    def _reset(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        for function in list(self.worker.functions):
            self._dispatcher.wake(self._table.cant_do(self.worker, function))

    def _set_client_id(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        self.worker.client_id = args[0][:_MOST_CLIENT_ID]

    def _grab(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        job = self._dispatcher.grab(self.worker)
        if job is None:
            self.send(_NO_JOB)
        elif kind is PacketType.GRAB_JOB:
            start = b"%b\0%b\0" % (job.handle, job.function.name)
            self._assign(PacketType.JOB_ASSIGN, start, job)
        else:
            start = b"%b\0%b\0%b\0" % (job.handle, job.function.name, job.unique)
            self._assign(PacketType.JOB_ASSIGN_UNIQ, start, job)

    def _assign(self, kind: PacketType, start: bytes, job: Job) -> None:
        for part in frame(kind, start, job.workload, RESPONSE):
            self.send(part)

    def _pre_sleep(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        if not self._table.sleep(self.worker):
            self.send(_NOOP)

    def _work(self, kind: PacketType, args: tuple[bytes, ...]) -> None:
        """Accept a worker's update of a job, and pass it on."""
        job = self.worker.in_hand.get(args[0].rstrip(b"\0"))
        if job is None:
            self.error(*_NOT_IN_HAND)
            return
        if kind is PacketType.WORK_STATUS:
            job.progress = _number(args[1]), _number(args[2])
        clients = job.clients
        if kind in _ENDS:
            self._dispatcher.end(job)
        if not clients:
            return
        args = (job.handle, *args[1:])
        packet = b"".join(_frame(kind, args))
        failure = encode(PacketType.WORK_FAIL, job.handle, magic=RESPONSE)
        for client in clients:
            peer = cast("Peer", client)
            is_failure = kind is PacketType.WORK_EXCEPTION and not peer._wants_exceptions
            peer.send(failure if is_failure else packet)

    # Administrators

    def _command(self, line: bytes) -> None:
        command = admin.Command(line, self._dispatcher, self._is_loopback)
        self.send(command.answer())
        if command.is_last:
            self.close()


def _frame(kind: PacketType, args: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    *head, last = args
    return frame(kind, b"".join(each + b"\0" for each in head), last, RESPONSE)


def _number(text: bytes) -> int:
    return min(int(text), 2**32 - 1) if text.isdigit() and len(text) < 20 else 0


def _status(job: Job | None) -> tuple[bytes, ...]:
    if job is None:
        return b"0", b"0", b"0", b"0"
    numerator, denominator = job.progress or (0, 0)
    running = b"1" if job.state is State.RUNNING else b"0"
    return b"1", running, b"%d" % numerator, b"%d" % denominator


_ENDS = {PacketType.WORK_COMPLETE, PacketType.WORK_FAIL, PacketType.WORK_EXCEPTION}
_Handler = Callable[[Peer, PacketType, tuple[bytes, ...]], None]
_HANDLERS: Mapping[PacketType, _Handler] = {
    **dict.fromkeys(_SUBMITS, Peer._submit),
    PacketType.SUBMIT_JOB_EPOCH: Peer._submit_epoch,
    PacketType.GET_STATUS: Peer._get_status,
    PacketType.GET_STATUS_UNIQUE: Peer._get_status_unique,
    PacketType.OPTION_REQ: Peer._option,
    PacketType.ECHO_REQ: Peer._echo,
    PacketType.CAN_DO: Peer._can_do,
    PacketType.CAN_DO_TIMEOUT: Peer._can_do,
    PacketType.CANT_DO: Peer._cant_do,
    PacketType.RESET_ABILITIES: Peer._reset,
    PacketType.SET_CLIENT_ID: Peer._set_client_id,
    PacketType.GRAB_JOB: Peer._grab,
    PacketType.GRAB_JOB_UNIQ: Peer._grab,
    PacketType.GRAB_JOB_ALL: Peer._grab,
    PacketType.PRE_SLEEP: Peer._pre_sleep,
    PacketType.WORK_STATUS: Peer._work,
    PacketType.WORK_DATA: Peer._work,
    PacketType.WORK_WARNING: Peer._work,
    PacketType.WORK_COMPLETE: Peer._work,
    PacketType.WORK_FAIL: Peer._work,
    PacketType.WORK_EXCEPTION: Peer._work,
}

"""
One socket to one job server: blocking calls with a time limit, on top of a non-blocking socket.

A connection is opened by making it, and is of no more use once it has raised ConnectionLost. It
belongs to the process that opened it: after a fork the child must open its own.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import math
import os
import select
import socket
import ssl
import threading
import weakref

from ..exceptions import ConnectionLost
from ..protocol.address import ServerAddress
from ..protocol.packets import Packet, PacketReader, PacketType, encode
from ..utils.clock import monotonic
from ..utils.interrupts import undisturbed, waits
from .sharing import close_in_child
from .sockets import Address, open_socket

_JOINED = 32768  # bytes of a chunk, on average, up to which a copy costs less than a buffer
_BUFFERS = 512  # buffers for each sendmsg(); the kernel takes 1024
_SPIN_SECONDS = 0.0003  # that a thread polls for what may come soon, instead of sleeping
_SPIN_AGAIN_SECONDS = 0.003  # after it did in vain: at most a tenth of the time is lost
_LONGEST_WAIT = 86_400.0  # seconds; poll() takes no more than 24 days
_LARGE = 1024  # bytes from which on a packet may take its time

_ASK_STATUS = encode(PacketType.GET_STATUS, b"H:nobody:0")  # which every server answers
_ASK_ECHO = encode(PacketType.ECHO_REQ, b"are you there?")
_open: weakref.WeakSet[Connection] = weakref.WeakSet()  # over TLS: they are to end with a goodbye
_without_options: set[str] = set()  # servers that leave OPTION_REQ unanswered


class Connection:
    """
    A socket to `server` that speaks packets.

    Making one connects, to `address` if it is given, and asks for WORK_EXCEPTION packets; that the
    server answers proves that it is alive, which a connect alone does not: the kernel accepts
    connections for a stopped process. Some servers have no answer to that, and are asked for a job's
    status; they cost half of `connect_timeout` once. Raises ConnectionLost after `connect_timeout`
    seconds; `opening.open_connection` looks up names in that time, too. Sending fails when the server
    takes nothing for `send_timeout` seconds. Nothing more can be sent then, as after any interruption
    halfway; but what the server has said before can be taken in.

    One thread may receive while another sends, and any may close.
    """

    def __init__(
        self,
        server: ServerAddress,
        *,
        connect_timeout: float = 5.0,
        send_timeout: float = 30.0,
        address: Address | None = None,
    ) -> None:
        self.server = server
        #: When a part of a large packet arrived last, on the monotonic clock. Small packets are no
        #: sign that an answer is on its way behind them.
        self.moved_at = 0.0
        self._send_timeout = send_timeout
        self._spins_at = 0.0  # not before that: it was in vain
        self._process = os.getpid()
        self._reader = PacketReader(source=f"job server {server}")
        self._packets: list[Packet] = []  # that have arrived with one that was waited for
        self._lock = threading.Lock()  # around each call on the socket: TLS allows one at a time
        deadline = monotonic() + connect_timeout
        self._socket = open_socket(server, address, connect_timeout)
        close_in_child(self)
        self._is_tls = isinstance(self._socket, ssl.SSLSocket)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        if self._is_tls:
            _open.add(self)
        try:
            if not self._is_alive(deadline):
                raise self._lost(
                    f"it accepts connections, but gave no answer in {connect_timeout:.3g} s"
                )
        except BaseException:
            self.close()
            raise

    def _is_alive(self, deadline: float) -> bool:
        """Ask for WORK_EXCEPTION packets, and return whether there was an answer in time."""
        address = str(self.server)
        if address not in _without_options:
            self.send(encode(PacketType.OPTION_REQ, b"exceptions"))
            if self.receive(max(0.0, (deadline - monotonic()) / 2)) is not None:
                return True
        self.send(_ASK_STATUS)
        has_options = False
        while (packet := self.receive(max(0.0, deadline - monotonic()))) is not None:
            if packet.type is not PacketType.STATUS_RES:
                has_options = True  # it was slow, and answers both, in their order
                continue
            if not has_options:
                _without_options.add(address)
            return True
        return False

    def fileno(self) -> int:
        """Return the descriptor; ConnectionLost if this process has none, or none any more."""
        self.check_process()
        number = self._socket.fileno()
        if number < 0:
            raise self._lost("the connection was closed")
        return number

    @undisturbed
    def send(self, *chunks: bytes, until: float = math.inf) -> None:
        """
        Send all of `chunks`, uncopied where they are large; ConnectionLost when that fails.

        It fails, too, when not all is sent at the time `until`.
        """
        self.check_process()
        try:
            if self._is_tls or sum(map(len, chunks)) <= _JOINED * len(chunks):
                self._send_buffers([b"".join(chunks)], until)
            else:
                for start in range(0, len(chunks), _BUFFERS):
                    some = chunks[start : start + _BUFFERS]
                    self._send_buffers([memoryview(chunk) for chunk in some], until)
        except ConnectionLost:  # half a packet may have gone out; but answers may have arrived
            with self._lock, contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_WR)
            raise
        except BaseException:
            self.close()
            raise

    def _send_buffers(self, buffers: list[bytes | memoryview], until: float) -> None:
        while buffers:
            try:
                with self._lock:
                    if len(buffers) == 1:
                        sent = self._socket.send(buffers[0])
                    else:
                        sent = self._socket.sendmsg(buffers)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._wait_writable(until)
                continue
            except OSError as error:
                raise self._lost(error) from error
            while buffers and sent >= len(buffers[0]):
                sent -= len(buffers.pop(0))
            if sent:
                buffers[0] = memoryview(buffers[0])[sent:]

    def _wait_writable(self, until: float) -> None:
        poller = select.poll()
        poller.register(self, select.POLLOUT)
        patience = max(0.0, min(self._send_timeout, until - monotonic()))
        if not poller.poll(milliseconds(patience)):
            raise self._lost(f"it took no more bytes for {patience:.3g} s")

    def receive(self, timeout: float | None = None) -> Packet | None:
        """
        Wait up to `timeout` seconds (None: without limit) for a packet; 0 reads what is there, once.

        Raises ConnectionLost when the connection breaks, ProtocolError when the server sends noise.
        """
        deadline = math.inf if timeout is None else monotonic() + timeout
        while not self._packets:
            remaining = max(0.0, deadline - monotonic())
            data = self._read(remaining)
            if data is None:
                return None
            self._packets = self._reader.feed(data)
            if not remaining:
                break
        return self._packets.pop(0) if self._packets else None

    def echo(self, timeout: float) -> None:
        """Wait until the server has processed all that was sent; ConnectionLost if it does not."""
        deadline = monotonic() + timeout
        self.send(_ASK_STATUS if str(self.server) in _without_options else _ASK_ECHO)
        while (packet := self.receive(max(0.0, deadline - monotonic()))) is not None:
            if packet.type in (PacketType.ECHO_RES, PacketType.STATUS_RES):
                return
        raise self._lost(f"it does not answer within {timeout:g} s")

    @property
    def plain_socket(self) -> socket.socket | None:
        """The socket, where packets go over it as they are."""
        return None if self._is_tls else self._socket

    def ask(self, command: str, timeout: float) -> str:
        """
        Run a command of the admin protocol that answers with lines and a full stop; return the lines.

        Raises ConnectionLost when the answer is not whole within `timeout` seconds.
        """
        self.send(f"{command}\r\n".encode())
        deadline = monotonic() + timeout
        answer = b""
        while not (answer == b".\n" or answer.endswith(b"\n.\n")):
            remaining = deadline - monotonic()
            data = self._read(remaining) if remaining > 0 else None
            if data is None:
                raise self._lost(f"no answer to the admin command {command!r} in {timeout:g} s")
            answer += data
        return answer[:-2].decode(errors="replace")

    @waits
    def has_news(self, timeout: float = 0.0, *, soon: bool = False) -> bool:
        """
        Wait up to `timeout` seconds until something has arrived, or the connection has ended.

        For what may come `soon` the thread spins for a moment before it sleeps: to sleep and be woken
        would take longer than a server near by takes to answer. Other threads of this process would
        pay for that, so it is done where there are none.
        """
        if soon and threading.active_count() == 1 and self._spin(timeout):
            return True
        return bool(self._readable.poll(milliseconds(timeout)))

    @waits
    def _spin(self, timeout: float) -> bool:
        now = monotonic()
        if now < self._spins_at:
            return False
        until = now + min(timeout, _SPIN_SECONDS)
        while now < until:
            if self._readable.poll(0):
                return True
            now = monotonic()
        self._spins_at = now + _SPIN_AGAIN_SECONDS
        return False

    @undisturbed
    def take_in(self) -> list[Packet]:
        """
        Read what has arrived, without waiting, and return the packets that are whole by it.

        Raises ConnectionLost when the connection is broken, ProtocolError when the server sends noise.
        """
        packets = self._reader.feed(self._receive_bytes())
        if self._packets:
            packets, self._packets = self._packets + packets, []
        return packets

    def arriving(self, least: int) -> tuple[Packet, int] | None:
        """Return the head of a packet of so many bytes that is on its way; see `PacketReader.head`."""
        return self._reader.head(least)

    def _read(self, timeout: float) -> bytes | None:
        """Return what arrives in time, None if nothing does; b"" for a part of a TLS record."""
        self.check_process()
        return self._receive_bytes() if self.has_news(timeout) else None

    def _receive_bytes(self) -> bytes:
        try:
            # Never less than a TLS record holds, so that nothing is left which poll() does not show.
            missing = self._reader.missing
            is_large = missing > _LARGE
            with self._lock:
                data = self._socket.recv(65536 if missing <= 65536 else min(missing, 1 << 20))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost("it closed the connection")
        if is_large:
            self.moved_at = monotonic()
        return data

    @property
    def inherited(self) -> bool:
        """Whether it was opened by another process, before a fork."""
        return os.getpid() != self._process

    def check_process(self) -> None:
        """Raise ConnectionLost in any process but the one that opened the connection."""
        if self.inherited:
            raise self._lost("it belongs to the parent process; open another one after a fork")

    def _lost(self, reason: object) -> ConnectionLost:
        if isinstance(reason, OSError) and reason.errno == errno.EBADF:
            reason = "the connection was closed"
        return ConnectionLost(f"job server {self.server}: {reason}")

    def close(self) -> None:
        """
        Close it; a thread that waits for it is woken.

        Over TLS it says goodbye first, without waiting for the answer: gearmand takes a connection
        that ends without for an error, which it then finds on another client's connection.
        """
        if self.inherited:  # it is the parent's still, and its lock may never open again
            self._socket.close()
            return
        with self._lock:
            if isinstance(self._socket, ssl.SSLSocket):
                with contextlib.suppress(OSError, ValueError):  # not even waiting to be able to
                    self._socket.unwrap()
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                self._socket.close()

    def __del__(self) -> None:
        opened = getattr(self, "_socket", None)
        if opened is None or opened.fileno() < 0:
            return
        if getattr(self, "_is_tls", False):
            self.close()
        else:
            opened.close()  # and no more: whoever has a duplicate still has its jobs


@atexit.register
def _say_goodbye() -> None:
    """Close what this process leaves open."""
    for connection in list(_open):
        connection.close()


def milliseconds(timeout: float) -> float:
    """Return what poll() takes for so many seconds."""
    return min(timeout, _LONGEST_WAIT) * 1000

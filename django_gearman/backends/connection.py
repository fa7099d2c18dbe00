"""
One socket to one job server: blocking calls with a time limit, on a non-blocking socket.

The constructor opens the connection. After ConnectionLost it is unusable. It belongs to the process
that opened it: after a fork, the child must open its own.
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
from typing import Any

from ..exceptions import ConnectionLost
from ..protocol.address import ServerAddress
from ..protocol.packets import Packet, PacketReader, PacketType, encode
from ..utils.clock import monotonic
from ..utils.interrupts import undisturbed, waits
from .sharing import close_in_child
from .sockets import Address, open_socket

_JOINED = 32768  # average bytes of a chunk up to which a copy costs less than a buffer
_BUFFERS = 512  # buffers for each sendmsg(); the kernel takes 1024
_SPIN_SECONDS = 0.0003  # of polling for a quick answer, instead of sleeping
_SPIN_AGAIN_SECONDS = 0.003  # after polling in vain: at most a tenth of the time is lost
_LONGEST_WAIT = 86_400.0  # seconds; poll() accepts at most 24 days
_LARGE = 1024  # bytes above which a packet may take longer

_ASK_STATUS = encode(PacketType.GET_STATUS, b"H:nobody:0")  # a command that every server answers
_ASK_ECHO = encode(PacketType.ECHO_REQ, b"are you there?")
_open: weakref.WeakSet[Connection] = weakref.WeakSet()  # TLS connections
_without_options: set[str] = set()  # servers that do not answer OPTION_REQ


class Connection:
    """
    A socket to `server` for packets.

    The constructor connects, to `address` if it is given, and asks for WORK_EXCEPTION packets. The
    answer proves that the server is alive. A connect alone does not, because the kernel accepts
    connections for a stopped process. Some servers do not answer, and are asked for a job's status;
    they cost half of `connect_timeout` once. Raises ConnectionLost after `connect_timeout` seconds;
    `opening.open_connection` includes the name lookup in that time. Sending fails if the server
    reads nothing for `send_timeout` seconds. After that, as after any interruption, nothing more
    can be sent, but data that has arrived can be read.

    One thread may receive while another sends, and any thread may close.
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
        #: The monotonic time of the last part of a large packet. Small packets do not mean that an
        #: answer follows them.
        self.moved_at = 0.0
        self._send_timeout = send_timeout
        self._spins_at = 0.0  # no polling before that time
        self._process = os.getpid()
        self._reader = PacketReader(source=f"job server {server}", joined=PacketType.JOB_CREATED)
        self._packets: list[Packet] = []  # packets that arrived together with an expected one
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
        """Ask for WORK_EXCEPTION packets, and return True if there was an answer in time."""
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
        """Return the descriptor; raise ConnectionLost if this process has none."""
        self.check_process()
        number = self._socket.fileno()
        if number < 0:
            raise self._lost("the connection was closed")
        return number

    @undisturbed
    def send(self, *chunks: bytes, until: float = math.inf) -> None:
        """
        Send all of `chunks`, large ones without a copy; raise ConnectionLost on failure.

        It also fails if not everything is sent at the time `until`.
        """
        self.check_process()
        try:
            if self._is_tls or sum(map(len, chunks)) <= _JOINED * len(chunks):
                self._send_buffers([b"".join(chunks)], until)
            else:
                for start in range(0, len(chunks), _BUFFERS):
                    some = chunks[start : start + _BUFFERS]
                    self._send_buffers([memoryview(chunk) for chunk in some], until)
        except ConnectionLost:  # half a packet may be sent; but answers may have arrived
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
        Wait up to `timeout` seconds (None: without limit) for a packet; with 0, read once without
        waiting.

        Raises ConnectionLost if the connection breaks, and ProtocolError for invalid data.
        """
        deadline = math.inf if timeout is None else monotonic() + timeout
        while not self._packets:
            remaining = max(0.0, deadline - monotonic())
            self.check_process()
            if not self.has_news(remaining):
                return None
            self._packets = self._receive_packets()
            if not remaining:
                break
        return self._packets.pop(0) if self._packets else None

    def echo(self, timeout: float) -> None:
        """
        Wait until the server has processed everything that was sent; raise ConnectionLost if it
        does not.
        """
        deadline = monotonic() + timeout
        self.send(_ASK_STATUS if str(self.server) in _without_options else _ASK_ECHO)
        while (packet := self.receive(max(0.0, deadline - monotonic()))) is not None:
            if packet.type in (PacketType.ECHO_RES, PacketType.STATUS_RES):
                return
        raise self._lost(f"it does not answer within {timeout:g} s")

    @property
    def plain_socket(self) -> socket.socket | None:
        """The socket, if packets are sent over it without TLS."""
        return None if self._is_tls else self._socket

    def ask(self, command: str, timeout: float, *, is_line: bool = False) -> str:
        """
        Run an admin command whose answer ends with a full stop, or after one line; return the lines.

        A server that does not know the command answers with one line: "ERR", and a code. Raises
        ConnectionLost if the answer is incomplete after `timeout` seconds.
        """
        self.send(f"{command}\r\n".encode())
        deadline = monotonic() + timeout
        answer = b""
        while not _is_complete(answer, is_line):
            remaining = deadline - monotonic()
            if remaining <= 0 or not self.has_news(remaining):
                raise self._lost(f"no answer to the admin command {command!r} in {timeout:g} s")
            answer += self._receive()
        return answer.removesuffix(b".\n").decode(errors="replace")

    @waits
    def has_news(self, timeout: float = 0.0, *, soon: bool = False) -> bool:
        """
        Wait up to `timeout` seconds until data has arrived, or the connection has ended.

        If data may arrive `soon`, the thread busy-waits for a moment before it sleeps. Sleeping and
        waking take longer than the answer of a server near by. Other threads of this process would
        lose that time, so it is only done if there are none.
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
        Read without waiting, and return the packets that are complete.

        Raises ConnectionLost if the connection is broken, and ProtocolError for invalid data.
        """
        packets = self._receive_packets()
        if self._packets:
            packets, self._packets = self._packets + packets, []
        return packets

    def arriving(self, least: int) -> tuple[Packet, int] | None:
        """Return `PacketReader.head`: of an incomplete packet of at least this many bytes."""
        return self._reader.head(least)

    def _receive_packets(self) -> list[Packet]:
        room = self._reader.room()
        found = self._receive(room)
        return self._reader.feed(found) if room is None else self._reader.filled(found)

    def _receive(self, room: memoryview | None = None) -> Any:
        """
        Return the data that has arrived, or the number of bytes that were read into `room`.

        It is b"" or 0 for a part of a TLS record.
        """
        try:
            # At least the size of a TLS record, so that no data is left that poll() does not see.
            missing = self._reader.missing
            with self._lock:
                if room is None:
                    found: Any = self._socket.recv(min(max(missing, 65536), 1 << 20))
                else:
                    found = self._socket.recv_into(room)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"" if room is None else 0
        except OSError as error:
            raise self._lost(error) from error
        if not found:
            raise self._lost("it closed the connection")
        if missing > _LARGE:
            self.moved_at = monotonic()
        return found

    @property
    def inherited(self) -> bool:
        """True if another process opened it, before a fork."""
        return os.getpid() != self._process

    def check_process(self) -> None:
        """Raise ConnectionLost unless this process opened the connection."""
        if self.inherited:
            raise self._lost("it belongs to the parent process; open another one after a fork")

    def _lost(self, reason: object) -> ConnectionLost:
        if isinstance(reason, OSError) and reason.errno == errno.EBADF:
            reason = "the connection was closed"
        return ConnectionLost(f"job server {self.server}: {reason}")

    def close(self) -> None:
        """
        Close the connection, and wake a thread that waits for it.

        With TLS, send a close message first, without waiting for the answer. gearmand treats a
        connection without it as an error, which then hits another client's connection.
        """
        if self.inherited:  # it belongs to the parent, and its lock may never open
            self._socket.close()
            return
        with self._lock:
            if isinstance(self._socket, ssl.SSLSocket):
                with contextlib.suppress(OSError, ValueError):  # not even waiting for the socket
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
            opened.close()  # and no more: a duplicate of the socket still has its jobs


def _is_complete(answer: bytes, is_line: bool) -> bool:
    if is_line or (answer.startswith(b"ERR ") and b"\t" not in answer):  # no function of this name
        return answer.endswith(b"\n")
    return answer == b".\n" or answer.endswith(b"\n.\n")


@atexit.register
def _say_goodbye() -> None:
    """Close the TLS connections that are open at the exit of this process."""
    for connection in list(_open):
        connection.close()


def milliseconds(timeout: float) -> float:
    """Convert seconds to the argument of poll()."""
    return min(timeout, _LONGEST_WAIT) * 1000

"""The request reader: from the bytes of a peer to binary packets and lines of text, in any mix."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..exceptions import ProtocolError
from ..protocol.packets import ARGUMENTS, REQUEST, PacketType

_HEADER = struct.Struct(">4sII")
_MOST_LINE = 8192  # bytes of an admin command
_TLS = b"\x16\x03"  # how a client begins that speaks TLS
_KNOWN = {int(kind): (kind, count) for kind, count in ARGUMENTS.items()}
# Some workers leave out the NUL before empty data.
_MAY_LACK_DATA = {
    PacketType.WORK_COMPLETE,
    PacketType.WORK_DATA,
    PacketType.WORK_WARNING,
    PacketType.WORK_EXCEPTION,
}

Request = tuple[PacketType | None, tuple[bytes, ...]]


class RequestReader:
    """
    A parser from a stream to requests: a packet's type and arguments, or None and a line of text.

    Raises ProtocolError for other data, and for a packet of more than `most` bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._needed = 1  # bytes in the buffer, before parsing is worthwhile

    @property
    def is_within(self) -> bool:
        """True while a request is incomplete."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Request]:
        """Add bytes, and yield the requests that they complete."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return
            data = bytes(buffer)
            buffer.clear()
        self._needed = 1
        start, end = 0, len(data)
        try:
            while start < end:
                request, after = (
                    self._binary(data, start) if not data[start] else _line(data, start)
                )
                if request is None:
                    break
                start = after
                yield request
        finally:
            if start < end:
                buffer += data[start:]

    def _binary(self, data: bytes, start: int) -> tuple[Request | None, int]:
        if len(data) - start < _HEADER.size:
            self._needed = _HEADER.size
            return None, start
        magic, number, size = _HEADER.unpack_from(data, start)
        known = _KNOWN.get(number)
        if magic != REQUEST or known is None:
            raise ProtocolError(f"not a Gearman request: {data[start : start + _HEADER.size]!r}")
        if size > self._most:
            raise ProtocolError(f"a packet of {size} bytes; at most {self._most} are taken")
        body = start + _HEADER.size
        after = body + size
        if after > len(data):
            self._needed = after - start
            return None, start
        kind, count = known
        args = tuple(data[body:after].split(b"\0", count - 1)) if count else ()
        if len(args) == count - 1 and kind in _MAY_LACK_DATA:
            args = *args, b""
        if len(args) != count:
            raise ProtocolError(f"{kind.name} has {len(args)} of its {count} arguments")
        return (kind, args), after


def _line(data: bytes, start: int) -> tuple[Request | None, int]:
    if data.startswith(_TLS, start):
        raise ProtocolError("a client speaks TLS, and this server has no --tls-cert")
    end = data.find(b"\n", start, start + _MOST_LINE + 1)
    if end < 0:
        if len(data) - start > _MOST_LINE:
            raise ProtocolError(f"a line of more than {_MOST_LINE} bytes")
        return None, start
    return (None, (data[start:end].removesuffix(b"\r"),)), end + 1

"""
Gearman's binary protocol: bytes to packets and back. No I/O, no Django.

A packet is a twelve-byte header (magic, type, size; big-endian) and a payload of arguments that NUL
bytes separate. Only the last argument may contain NULs, so the type determines where to split:
`ARGUMENTS`. Gearmand's PROTOCOL document defines the types. The real behaviour of servers was
measured with gearmand 1.1.20 and 2.0.0.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from itertools import chain, takewhile
from typing import Any, NamedTuple

from ..exceptions import ProtocolError

REQUEST = b"\0REQ"
RESPONSE = b"\0RES"

_HEADER = struct.Struct(">8sI")  # magic and type, size
_HEADER_SIZE = _HEADER.size
_MAX_SIZE = 2**32 - 1
#: First bytes of a packet, which contain all names of an assigned job.
MOST_HEAD = 1024
_LARGE = 1 << 18  # missing bytes from which they are read into one buffer, in place of joined
_HUGE = 1 << 26  # missing bytes up to that: a buffer takes its memory at once, and a server may lie
_SPARE = 1 << 16  # bytes behind a large packet; at least a TLS record, which has to be read whole


class PacketType(enum.IntEnum):
    """The packet types that this library sends or understands."""

    __hash__ = int.__hash__  # an Enum's own is slow Python code

    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


#: The number of arguments of each packet type.
ARGUMENTS: dict[PacketType, int] = {
    PacketType.CAN_DO: 1,
    PacketType.CANT_DO: 1,
    PacketType.RESET_ABILITIES: 0,
    PacketType.PRE_SLEEP: 0,
    PacketType.NOOP: 0,
    PacketType.SUBMIT_JOB: 3,
    PacketType.JOB_CREATED: 1,
    PacketType.GRAB_JOB: 0,
    PacketType.NO_JOB: 0,
    PacketType.JOB_ASSIGN: 3,
    PacketType.WORK_STATUS: 3,
    PacketType.WORK_COMPLETE: 2,
    PacketType.WORK_FAIL: 1,
    PacketType.GET_STATUS: 1,
    PacketType.ECHO_REQ: 1,
    PacketType.ECHO_RES: 1,
    PacketType.SUBMIT_JOB_BG: 3,
    PacketType.ERROR: 2,
    PacketType.STATUS_RES: 5,
    PacketType.SUBMIT_JOB_HIGH: 3,
    PacketType.SET_CLIENT_ID: 1,
    PacketType.CAN_DO_TIMEOUT: 2,
    PacketType.ALL_YOURS: 0,
    PacketType.WORK_EXCEPTION: 2,
    PacketType.OPTION_REQ: 1,
    PacketType.OPTION_RES: 1,
    PacketType.WORK_DATA: 2,
    PacketType.WORK_WARNING: 2,
    PacketType.GRAB_JOB_UNIQ: 0,
    PacketType.JOB_ASSIGN_UNIQ: 4,
    PacketType.SUBMIT_JOB_HIGH_BG: 3,
    PacketType.SUBMIT_JOB_LOW: 3,
    PacketType.SUBMIT_JOB_LOW_BG: 3,
    PacketType.SUBMIT_JOB_SCHED: 8,
    PacketType.SUBMIT_JOB_EPOCH: 4,
    PacketType.SUBMIT_REDUCE_JOB: 4,
    PacketType.SUBMIT_REDUCE_JOB_BACKGROUND: 4,
    PacketType.GRAB_JOB_ALL: 0,
    PacketType.GET_STATUS_UNIQUE: 1,
    PacketType.STATUS_RES_UNIQUE: 6,
}
_START = {
    magic: {kind: magic + struct.pack(">I", kind) for kind in ARGUMENTS}
    for magic in (REQUEST, RESPONSE)
}
_KNOWN = {
    magic: {start: (kind, ARGUMENTS[kind]) for kind, start in starts.items()}
    for magic, starts in _START.items()
}


class Packet(NamedTuple):
    """One packet, with its arguments split."""

    type: PacketType
    args: tuple[bytes, ...] = ()


_new = tuple.__new__  # makes one without a call of Python code


def to_text(argument: bytes) -> str:
    """Decode a name; bytes that are not UTF-8 survive a round trip."""
    return argument.decode(errors="surrogateescape")


def to_bytes(text: str) -> bytes:
    """Encode a name."""
    return text.encode(errors="surrogateescape")


def to_number(text: bytes) -> int:
    """Parse a progress number; anything else counts as 0, as in gearmand itself."""
    return int(text) if text.isdigit() and len(text) < 20 else 0


def encode(kind: PacketType, *args: bytes, magic: bytes = REQUEST) -> bytes:
    """Return the bytes of a packet; raise ValueError for invalid arguments."""
    head, last = args[:-1], args[-1] if args else b""
    start = b"".join(argument + b"\0" for argument in head)
    if start.count(b"\0") != len(head):
        raise ValueError(f"a NUL byte in the arguments {head!r}; only the last one may hold NULs")
    return b"".join(frame(kind, start, last, magic))


def frame(
    kind: PacketType, start: bytes, last: bytes, magic: bytes = REQUEST
) -> tuple[bytes, bytes]:
    """
    Return a packet in two parts, the second being its last argument itself: bytes are not copied.
    """
    if type(last) is not bytes:
        last = bytes(memoryview(last))  # TypeError for other types than bytes
    size = len(start) + len(last)
    if size > _MAX_SIZE:
        raise ValueError(f"{size} bytes are too much for a Gearman packet, which holds {_MAX_SIZE}")
    return _HEADER.pack(_START[magic][kind], size) + start, last


def frames(
    kind: PacketType, start: bytes, ends: Sequence[bytes], lasts: Sequence[bytes]
) -> list[bytes]:
    """
    Return many packets in parts, like `frame`: the same `start`, one of `ends` of the same length,
    and one of `lasts`, which are bytes.
    """
    sizes = [*map(len, lasts)]
    fixed = len(start) + max(map(len, ends), default=0)
    head = _START[REQUEST][kind]
    heads = {size: _HEADER.pack(head, fixed + size) + start for size in {*sizes}}
    parts = zip(map(heads.__getitem__, sizes), ends, lasts, strict=True)
    return [*chain.from_iterable(parts)]


class PacketReader:
    """
    A parser from a stream of bytes, cut anywhere, to packets whose magic is `magic`.

    Packets of the type `joined`, which has one argument, may come joined to one, with the argument
    of each. This takes a tenth of the time.
    """

    def __init__(
        self,
        magic: bytes = RESPONSE,
        source: str = "the stream",
        joined: PacketType | None = None,
    ) -> None:
        self._magic = magic
        self._joined = joined
        self._known = _KNOWN[magic]
        self._source = source
        self._parts: list[bytes] = []  # the bytes of an incomplete packet
        self._buffer: bytearray | None = None  # in place of them, for a large packet
        self._available = 0  # their number
        #: The least number of further bytes until there is a packet.
        self.missing = _HEADER_SIZE

    def head(self, least: int) -> tuple[Packet, int] | None:
        """Return `parse_head` of an incomplete packet of at least this many bytes."""
        if self.missing + self._available < least:
            return None
        start = bytes((self._buffer or b"")[: min(self._available, MOST_HEAD)])
        for part in self._parts:
            start += part[: MOST_HEAD - len(start)]
            if len(start) == MOST_HEAD:
                break
        return parse_head(start, self._magic)

    def feed(self, data: bytes) -> list[Packet]:
        """Add bytes; return the packets that they complete. Raises ProtocolError for other data."""
        if self._available:
            self._parts.append(data)
            self._available += len(data)
            self.missing -= len(data)
            if self.missing > 0:
                return []
            data = b"".join(self._parts)
            self._parts.clear()
        return self._parse(data, len(data))

    def room(self) -> memoryview | None:
        """
        Return the place for the rest of a large packet, and for the data after it; None for others.

        Call `filled` with the number of bytes that were read into it.
        """
        if self._buffer is None:
            if not _LARGE <= self.missing <= _HUGE:
                return None
            self._buffer = bytearray(self._available + self.missing + _SPARE)
            self._buffer[: self._available] = b"".join(self._parts)
            self._parts.clear()
        return memoryview(self._buffer)[self._available :]

    def filled(self, count: int) -> list[Packet]:
        """Do what `feed` does, with bytes that were read into `room`."""
        self._available += count
        self.missing -= count
        if self.missing > 0 or self._buffer is None:
            return []
        data, self._buffer = self._buffer, None
        return self._parse(data, self._available)

    def _parse(self, data: Any, end: int) -> list[Packet]:
        """Return the packets in bytes up to `end`; in a buffer, the first one is large."""
        packets: list[Packet] = []
        noise = ""
        start, needed = 0, _HEADER_SIZE
        while (body := start + _HEADER_SIZE) <= end:
            head, size = _HEADER.unpack_from(data, start)
            known = self._known.get(head)
            if known is None:
                shown = data[start:body]
                noise = f"not a Gearman packet: {shown!r}; is this really a job server?"
                break
            after = body + size
            if after > end:
                needed += size
                break
            kind, count = known
            if size >= _LARGE:
                args = _cut(data, body, after, count)
                if type(data) is bytearray:  # the buffer's memory is free again
                    data = bytes(memoryview(data)[after:end])
                    after, end = 0, len(data)
            elif count > 1:
                args = tuple(data[body:after].split(b"\0", count - 1))
            elif kind is self._joined and after < end and data.startswith(data[start:body], after):
                args = tuple(_alike(data, start, size))
                after = start + len(args) * (_HEADER_SIZE + size)
                count = len(args)
            else:
                args = (data[body:after],) if count else ()
            if len(args) != count:
                noise = f"{kind.name} with {len(args)} of its {count} arguments: {args!r:.100}"
                break
            packets.append(_new(Packet, (kind, args)))
            start = after
        self._available = end - start
        self.missing = needed - self._available
        if self._available:
            self._parts.append(bytes(data[start:end]))
        if noise and not packets:  # otherwise it waits until these are handled
            raise ProtocolError(f"{self._source}: {noise}")
        return packets


def _alike(data: bytes, start: int, size: int) -> list[bytes]:
    """Return the payloads of the packets from `start` on that have one header, of this size."""
    header, step, most = data[start : start + _HEADER_SIZE], _HEADER_SIZE + size, 2
    while data.startswith(header, start + most * step):
        most *= 2
    found = data[start : start + most * step].split(header)[1:]
    # A header in a payload makes one too short; bytes of another packet make the last one too long.
    right = [*takewhile(size.__eq__, map(len, found))]
    return found[: len(right)] or [data[start + _HEADER_SIZE : start + step]]


def _cut(data: bytes | bytearray, start: int, end: int, count: int) -> tuple[bytes, ...]:
    """Return the arguments of a large packet; the last one, which is large, is copied only once."""
    args: list[bytes] = []
    while len(args) < count - 1 and (nul := data.find(b"\0", start, end)) >= 0:
        args.append(bytes(data[start:nul]))
        start = nul + 1
    return (*args, bytes(memoryview(data)[start:end])) if count else ()


def parse_head(start: bytes, magic: bytes = RESPONSE) -> tuple[Packet, int] | None:
    """Parse the first bytes of a packet; return its fields and the size of its last argument."""
    if len(start) < _HEADER_SIZE:
        return None
    head, size = _HEADER.unpack_from(start)
    kind, count = _KNOWN[magic].get(head, (None, 0))
    if kind is None or not count:
        return None
    *args, _ = start[_HEADER_SIZE:].split(b"\0", count - 1)
    if len(args) != count - 1:
        return None
    return Packet(kind, tuple(args)), size - sum(map(len, args)) - len(args)

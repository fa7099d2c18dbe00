"""A notice: a short text that one process writes, and that all others of a supervisor read."""

from __future__ import annotations

import mmap
import os
import struct

from .scoreboard import memory_file

#: Longest text, in bytes. Memory exists as soon as it is written.
MAX_NOTICE = 1 << 20

_head = struct.Struct("=QI")  # the version, which is odd while the text is written, and the length
_version = struct.Struct("=Q")


class Notice:
    """
    A text in memory, empty at first.

    It is made before the processes are forked. `descriptor` opens an existing one, for example that
    of the program that a reload has replaced. One process at a time writes.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = memory_file("notice") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, _head.size + MAX_NOTICE)
        self._memory = mmap.mmap(self.descriptor, _head.size + MAX_NOTICE)
        self._read = 0  # the version of the text that was read last

    def write(self, text: bytes) -> None:
        """Replace the text; raise ValueError if it is longer than MAX_NOTICE."""
        if len(text) > MAX_NOTICE:
            raise ValueError(f"a notice has at most {MAX_NOTICE:,} bytes, not {len(text):,}")
        version = _version.unpack_from(self._memory)[0] | 1
        _head.pack_into(self._memory, 0, version, len(text))
        self._memory[_head.size : _head.size + len(text)] = text
        _version.pack_into(self._memory, 0, version + 1)

    def news(self) -> bytes | None:
        """Return the text if it has changed since the last call in this process, else None."""
        version = _version.unpack_from(self._memory)[0]
        if version == self._read or version % 2:
            return None
        length = min(_head.unpack_from(self._memory)[1], MAX_NOTICE)
        text = self._memory[_head.size : _head.size + length]
        if _version.unpack_from(self._memory)[0] != version:
            return None  # it is being changed; the next call returns it
        self._read = version
        return text

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)

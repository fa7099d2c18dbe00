"""
Why a job failed, in the words of a worker in another language.

They arrive as bytes of any kind, and are shown as text: in an exception's message, in logs.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..exceptions import JobFailed, JobRaised
from ..utils.text import printable

_LONGEST = 20_000  # characters
_UNTOLD = "its worker did not tell why"
# Perl's Storable, which freezes what a job died of: a version, a type, a length, the text.
_STORABLE = b"\x04", b"\x05"  # in the machine's byte order, and in network order
_SHORT = b"\x0a\x17"  # types with a length of one byte: bytes, and UTF-8
_LONG = b"\x01\x18"  # types with a length of four bytes


def text_of(told: bytes | str) -> str:
    """Return what a worker said, without control characters, and cut if it is very long."""
    if isinstance(told, bytes):
        told = _thawed(told.rstrip(b"\0")).decode(errors="replace")
    cut = told.strip()[:_LONGEST]
    return "\n".join(printable(line) for line in cut.split("\n"))


def failure(job: str, raised: Mapping[str, str] | None, reason: str) -> JobFailed:
    """Return the error of a failed job, as far as its worker has told what it is."""
    if raised:
        return JobRaised(job, **raised)
    return JobFailed(f"{job} failed: {reason}" if reason else f"{job} failed; {_UNTOLD}")


def _thawed(data: bytes) -> bytes:
    """Return the text that Perl has frozen; other bytes as they are."""
    if data[:1] not in _STORABLE:
        return data
    for start in (2, 7 + sum(data[2:3])):  # in the machine's order its traits stand in between
        for kinds, size in ((_SHORT, 1), (_LONG, 4)):
            kind, length = data[start : start + 1], data[start + 1 : start + 1 + size]
            text = data[start + 1 + size :]
            lengths = int.from_bytes(length, "big"), int.from_bytes(length, "little")
            if kind and kind in kinds and len(text) in lengths:
                return text
    return data

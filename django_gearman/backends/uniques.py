"""What names a job for coalescing, on the wire."""

from __future__ import annotations

import hashlib
import os

from .base import JobSpec

#: Longest unique that gearmand handles, in bytes; 64 already corrupts the workload.
MAX_UNIQUE_BYTES = 63


def wire_unique(spec: JobSpec) -> bytes:
    """
    Return the unique that goes over the wire for a job.

    Always one: gearmand's persistent queue loses jobs without. Foreground and background jobs never
    share one, because gearmand loses the background job when the foreground client leaves. One that
    is too long, or that the protocol could not carry, is replaced by its digest.
    """
    prefix = b"b:" if spec.background else b"f:"
    if not spec.unique:
        return prefix + os.urandom(16).hex().encode()
    unique = spec.unique.encode(errors="surrogatepass")
    if len(unique) > MAX_UNIQUE_BYTES - len(prefix) or not spec.unique.isprintable():
        unique = hashlib.blake2b(unique, digest_size=24).hexdigest().encode()
    return prefix + unique


def from_wire_unique(unique: bytes) -> tuple[str, bool | None]:
    """Return the caller's unique and whether the job is a background one (None: not ours, unknown)."""
    text = unique.decode(errors="replace")
    match unique[:2]:
        case b"b:":
            return text[2:], True
        case b"f:":
            return text[2:], False
        case _:
            return text, None

"""
What names a job for coalescing, on the wire.

gearmand loses a background job when a foreground client of the same unique leaves. So our uniques
say which of the two their job is, and never meet those of other programs. Workers of older versions
know the job by the first two characters. The others tell ours from a unique that another program has
made up, "b:42" for instance. To this version, a unique of an older client is like another program's:
the server tells which it is (`WorkerSession.is_awaited`).
"""

from __future__ import annotations

import hashlib
import os
import re

from ..backends.base import JobSpec

#: Longest unique that gearmand handles, in bytes; 64 already corrupts the workload.
MAX_UNIQUE_BYTES = 63

_BACKGROUND, _FOREGROUND = b"b:dj:", b"f:dj:"
_PREFIX = len(_BACKGROUND)
_OLD_BACKGROUND = re.compile(r"b:[0-9a-f]{32}")


def wire_unique(spec: JobSpec) -> bytes:
    """
    Return the unique that goes over the wire for a job.

    Always one: gearmand's persistent queue loses jobs without. One that is too long, or that the
    protocol could not carry, is replaced by its digest.
    """
    prefix = _BACKGROUND if spec.background else _FOREGROUND
    if not spec.unique:
        return prefix + os.urandom(16).hex().encode()
    unique = spec.unique.encode(errors="surrogatepass")
    if len(unique) > MAX_UNIQUE_BYTES - _PREFIX or not spec.unique.isprintable():
        unique = hashlib.blake2b(unique, digest_size=24).hexdigest().encode()
    return prefix + unique


def from_wire_unique(unique: bytes) -> tuple[str, bool | None]:
    """Return the caller's unique and whether the job is a background one (None: not ours, unknown)."""
    text = unique.decode(errors="replace")
    match unique[:_PREFIX]:
        case b"b:dj:":
            return text[_PREFIX:], True
        case b"f:dj:":
            return text[_PREFIX:], False
        case _:
            return text, None


def is_old_background(unique: str) -> bool:
    """
    Whether an older version made this unique, for a background job.

    Another program may have made it, too, but hardly so: it is for transports that cannot ask.
    """
    return _OLD_BACKGROUND.fullmatch(unique) is not None

"""
The names on the wire: functions, handles and uniques. Only this module decides their format. The rules
for functions hold for jobs and queues, too.

A handle above the transports is "host:port//H:name:1": gearmand's own handles are only valid
together with their server.

Jobs with the same unique merge. gearmand loses a background job if a foreground client with the
same unique leaves. So our uniques contain the kind of their job, and never equal those of other
programs. Workers of older versions know a job's kind by the first two characters. The other
characters distinguish our uniques from those of another program, for example "b:42". For this
version, a unique of an older client is like another program's: the server knows its kind
(`WorkerSession.is_awaited`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Sequence
from itertools import count

from ..utils.text import quoted
from .messages import AssignedJob, JobSpec
from .packets import to_bytes, to_text

#: Real transports queue delayed jobs under the function's name with this suffix, and our workers
#: serve both. gearmand 1.1 holds back the LOW jobs of a function while a delayed job of the same
#: name waits.
DELAYED = "@delayed"
#: Longest name of a function, in bytes: libgearman allows 512, and delayed jobs need their suffix.
MAX_FUNCTION_BYTES = 512 - len(DELAYED)
#: Longest name of a job, a queue or the function of a declared job, in bytes.
MAX_NAME_BYTES = 255
#: Longest unique that gearmand handles, in bytes; a unique of 64 bytes corrupts the workload.
MAX_UNIQUE_BYTES = 63
#: Longest handle that gearmand answers to, in bytes.
MAX_HANDLE_BYTES = 63

#: The start of the private functions by which `contrib.store.control` reaches each gearman_worker.
CONTROL = "django_gearman.control:"

_OF_SERVER = "//"  # between a server's address and its own handle
_QUICK, _OF_DELAYED = "#quick", "#delayed"


def check_name(value: object, what: str) -> str:
    """
    Return the name of a job, queue or function; raise TypeError or ValueError for an invalid one.
    """
    if not isinstance(value, str):
        raise TypeError(f"a {what} is a string, not {quoted(value)}")
    if not value or not value.isprintable() or " " in value:
        raise ValueError(
            f"{quoted(value)} is not a {what}: a name has at least one character, no spaces and no "
            "control characters"
        )
    if len(value.encode()) > MAX_NAME_BYTES:
        raise ValueError(
            f"{quoted(value)} is not a {what}: it is longer than {MAX_NAME_BYTES} bytes"
        )
    if value.endswith(DELAYED):
        raise ValueError(
            f"{quoted(value)} is not a {what}: names that end in {DELAYED!r} are reserved"
        )
    return value


def delayed_function(function: str) -> str:
    """Return the name under which delayed jobs of a function are queued."""
    return function + DELAYED


def plain_function(name: str) -> str:
    """Return the function of a job, delayed or not."""
    return name.removesuffix(DELAYED)


def served_functions(functions: Sequence[str]) -> list[bytes]:
    """
    Return the names that a worker registers, in the necessary order.

    Of the functions with waiting jobs, gearmand 1.1 serves the one that was registered last, and
    2.0 serves each in turn. So the first of `functions` comes last, and delayed jobs, which are
    older, come after all others.
    """
    names = [*reversed(functions), *map(delayed_function, reversed(functions))]
    return [to_bytes(name) for name in names]


def handle_prefix(address: object) -> str:
    """Return the start of all handles of a server."""
    return f"{address}{_OF_SERVER}"


def full_handle(address: object, own_handle: bytes) -> str:
    """Return the full handle of a job, from its server's own one."""
    return handle_prefix(address) + to_text(own_handle)


def server_of(handle: str) -> str:
    """Return the address of the server that made a handle."""
    return handle.partition(_OF_SERVER)[0]


def own_handle(handle: str) -> bytes:
    """Return the server's own part of a handle."""
    return handle.rpartition(_OF_SERVER)[2].encode(errors="surrogateescape")


def split_handle(handle: str, addresses: Collection[str]) -> tuple[str, bytes]:
    """Return the server's address and its own handle; raise ValueError for an invalid handle."""
    address, _, own = handle.partition(_OF_SERVER)
    if address not in addresses or not 0 < len(to_bytes(own)) <= MAX_HANDLE_BYTES:
        raise ValueError(
            f"{handle!r} is not the handle of a job on {', '.join(addresses)}; "
            "a handle looks like 'host:port//H:name:1'"
        )
    return address, to_bytes(own)


def quick_lane(server: str) -> str:
    """Return the name of a worker's second connection to a server, the one for quick functions."""
    return server + _QUICK


def delayed_lane(server: str) -> str:
    """Return the name of a worker's connection to a server for delayed jobs."""
    return server + _OF_DELAYED


def later_lane(server: str, taken: Collection[str]) -> str:
    """
    Return the name of another connection for the same jobs, with that of its lane for delayed ones
    free, too; the old one is still there.
    """
    names = (f"{server}#{number}" if number > 1 else server for number in count(1))
    return next(name for name in names if not {name, delayed_lane(name)} & {*taken})


def server_of_lane(connection: str) -> str:
    """Return the server's address from the name of a worker's connection."""
    return connection.partition("#")[0]


#: The starts of our uniques on the wire.
BACKGROUND, FOREGROUND = b"b:dj:", b"f:dj:"
_PREFIX = len(BACKGROUND)
_LONGEST_UNIQUE = MAX_UNIQUE_BYTES - _PREFIX
_OLD_BACKGROUND = re.compile(r"b:[0-9a-f]{32}")


def wire_unique(spec: JobSpec) -> bytes:
    """
    Return the unique of a job on the wire.

    There is always one, because gearmand's persistent queue loses jobs without. A unique that is
    too long or cannot be sent is replaced by its digest.
    """
    prefix = BACKGROUND if spec.background else FOREGROUND
    return prefix + (_fit(spec.unique) if spec.unique else os.urandom(16).hex().encode())


def fit_unique(unique: str) -> str:
    """Return a caller's unique as a worker sees it: a digest, if it cannot be sent."""
    return _fit(unique).decode(errors="surrogatepass")


def _fit(unique: str) -> bytes:
    encoded = unique.encode(errors="surrogatepass")
    if len(encoded) > _LONGEST_UNIQUE or not unique.isprintable():
        return hashlib.blake2b(encoded, digest_size=24).hexdigest().encode()
    return encoded


def routing_key(unique: str) -> str:
    """
    Return the part of a unique that chooses the job server.

    It is the whole of a submitter's unique. Generated ones, of version 7, count up: with the same
    part, 4096 jobs that are submitted together go to one server.
    """
    return unique[:-3] if len(unique) == 32 and unique[12] == "7" else unique


def from_wire_unique(unique: bytes) -> tuple[str, bool | None]:
    """Return the caller's unique, and True for a background job (None: unknown, not our unique)."""
    text = unique.decode(errors="replace")
    if unique.startswith(BACKGROUND):
        return text[_PREFIX:], True
    if unique.startswith(FOREGROUND):
        return text[_PREFIX:], False
    return text, None


def is_old_background(unique: str) -> bool:
    """
    Return True if an older version made this unique for a background job.

    Another program could have made it, but this is unlikely. Only transports that cannot ask the
    server use this.
    """
    return _OLD_BACKGROUND.fullmatch(unique) is not None


def assigned_job(
    prefix: str, handle: bytes, function: bytes, unique: bytes, workload: bytes
) -> AssignedJob:
    """Return a job as its worker knows it; `prefix` is `handle_prefix` of its server."""
    name = function.decode(errors="surrogateescape")
    plain = name.removesuffix(DELAYED)
    text, background = from_wire_unique(unique)
    handle_text = prefix + handle.decode(errors="surrogateescape")
    return AssignedJob(handle_text, plain, text, workload, background, plain != name)

"""
The identity of a job, through all its attempts.

An id is a UUID of version 7, in hexadecimal: it begins with the time of the submission, so ids sort by
time. The generated unique of a job's first attempt is its id, and `<id>:2` is the unique of the second.
So most jobs carry their id and time on the job server without a byte more.

The rest of the jobs have a unique of their submitter's, or a priority, which the job server does not
tell. Their context carries both, and the id, under a reserved key: every serializer keeps the context,
and workers of 1.0 accept it, which would take an envelope with another key for an argument. They pass
it on to the jobs that a job submits, too. So what is carried counts only with the unique it was made
for.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..protocol.messages import AssignedJob, Priority
from ..protocol.names import fit_unique

#: Where a job's identity is in the context that travels; no job sees it there.
CARRIED = "django_gearman"

_ID = re.compile(r"[0-9a-f]{32}")
_ATTEMPT = re.compile(r"([0-9a-f]{32})(?::[0-9]+)?")
# The milliseconds begin so from 2004 to 2074.
_TIMED = re.compile(r"0[12][0-9a-f]{10}7[0-9a-f]{3}8[0-9a-f]{15}")
_VERSION_7 = 7 << 76 | 8 << 60  # with the variant of all UUIDs today
# The bits that are left; one of them stays 0 for two billion ids to come.
_RANDOM = (1 << 76) - 1 & ~(0xF << 60) & ~(1 << 31)
_PRIORITIES = {each.value: each for each in Priority}
_CARRIED = re.compile(rf"([0-9a-f]{{32}})/({'|'.join(_PRIORITIES)})/(.*)", re.DOTALL)


class Identity(NamedTuple):
    """
    A job's id, its unique as the submitter gave it, and its priority.

    A job without a unique of its submitter's has its id for one.
    """

    id: str
    unique: str
    priority: Priority = Priority.NORMAL

    @property
    def enqueued_at(self) -> float | None:
        """The time of the submission, in seconds since the epoch; None if the submitter does not say."""
        return int(self.id[:12], 16) / 1000 if _TIMED.fullmatch(self.id) else None

    def carried(self) -> Mapping[str, str]:
        """Return what the context of the job must carry; nothing if its unique says all."""
        if self.unique == self.id and self.priority is Priority.NORMAL:
            return {}
        return carried(self.id, self.unique, self.priority.value)

    def unique_of(self, attempt: int) -> str:
        """
        Return the unique of an attempt on the job server.

        It is the same however often the attempt is queued: the job server then takes it once. It is
        not that of the attempt before, which still runs when the next one is queued. The numbers only
        rise, so of two jobs with one unique, each of which fails, never is each merged with the
        other, which is about to end: that would lose both.
        """
        if attempt == 1:
            return self.unique
        key = self.id if self.unique in ("", self.id) else _digest(self.unique)
        return f"{key}:{attempt}"


def new_ids() -> Iterator[int]:
    """
    Return the ids of jobs that are submitted together, as numbers: each is the one before and 1.

    The first has 71 random bits: ids of other processes and hosts in the same millisecond differ.
    """
    drawn = int.from_bytes(os.urandom(10)) & _RANDOM
    return itertools.count(int(time.time() * 1000) << 80 | _VERSION_7 | drawn)


def carried(job_id: str, unique: str, priority: str) -> dict[str, str]:
    """Return what the context of such a job must carry."""
    return {CARRIED: f"{job_id}/{priority}/{'' if unique == job_id else unique}"}


def id_of(function: str, unique: str) -> str:
    """
    Return the id of a job that carries none beside its unique.

    It is a generated unique itself, and a digest of others: jobs of one such unique share their id.
    """
    if generated := _ATTEMPT.fullmatch(unique):
        return generated[1]
    plain = unique.replace("-", "").lower()  # as other libraries write the UUIDs that they generate
    return plain if _ID.fullmatch(plain) else _digest(f"{function}\0{fit_unique(unique)}")


def identity_of(assigned: AssignedJob, attempt: int, context: Mapping[str, Any] | None) -> Identity:
    """
    Return who a job is, from the context that has travelled with it.

    Where that cannot be looked at (None), the id of a job with a unique of its submitter's is "".
    """
    unique = assigned.unique
    generated = _ATTEMPT.fullmatch(unique)
    if context is None and not generated:
        return Identity("", unique)
    carried = (context or {}).get(CARRIED)
    if isinstance(carried, str) and (told := _CARRIED.fullmatch(carried)):
        identity = Identity(told[1], told[3] or told[1], _PRIORITIES[told[2]])
        if fit_unique(identity.unique_of(attempt)) == unique:
            return identity
    if generated:
        return Identity(generated[1], generated[1])
    return Identity(id_of(assigned.function, unique or assigned.handle), unique)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()

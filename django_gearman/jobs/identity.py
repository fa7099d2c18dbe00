"""
The identity of a job, through all its attempts.

An id is a UUID of version 7, in hexadecimal. It begins with the time of the submission, so ids sort
by time. The generated unique of a job's first attempt is its id, and `<id>:2` is the unique of the
second attempt. So most jobs need no extra bytes for their id and time.

Other jobs have a unique of their submitter, or a priority, and the job server does not pass on
either. Their context has both, and the id, under a reserved key. Every serializer keeps the
context, and workers of 1.0 accept it; they would take an envelope with a new key for an argument.
Those workers also pass the context on to jobs that a job submits. So the entry counts only together
with the unique for which it was made.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..protocol.messages import AssignedJob, Priority
from ..protocol.names import fit_unique

#: The key of the identity in the context on the wire; no job sees it.
CARRIED = "django_gearman"
#: The key of the time at which a scheduled job was due: its id, a slash, and the time in ISO format.
#: Jobs that it submits may inherit the entry, so it counts only together with the id.
DUE = "django_gearman.due"
#: The keys of the context that no job sees.
RESERVED = frozenset({CARRIED, DUE})

_ID = re.compile(r"[0-9a-f]{32}")
_ATTEMPT = re.compile(r"([0-9a-f]{32})(?::[0-9]+)?")
_LATER = re.compile(r"[0-9a-f]{32}:([0-9]{1,9})")
# The first hexadecimal digits of the milliseconds from 2004 to 2074.
_TIMED = re.compile(r"0[12][0-9a-f]{10}7[0-9a-f]{3}8[0-9a-f]{15}")
_VERSION_7 = 7 << 76 | 8 << 60  # with the variant of all UUIDs today
# The bits that are left; one of them stays 0 for two billion ids to come.
_RANDOM = (1 << 76) - 1 & ~(0xF << 60) & ~(1 << 31)
_PRIORITIES = {each.value: each for each in Priority}
_CARRIED = re.compile(rf"([0-9a-f]{{32}})/({'|'.join(_PRIORITIES)})/(.*)", re.DOTALL)


class Identity(NamedTuple):
    """
    A job's id, its submitter's unique, and its priority.

    A job without a unique of its submitter has its id instead.
    """

    id: str
    unique: str
    priority: Priority = Priority.NORMAL
    due: str = ""

    @property
    def scheduled_for(self) -> datetime.datetime | None:
        """The time at which the job was due by its schedule; None for a job of no schedule."""
        try:
            due = datetime.datetime.fromisoformat(self.due)
        except ValueError:
            return None
        return due if due.tzinfo is not None else None

    @property
    def enqueued_at(self) -> float | None:
        """The time of the submission, in seconds since the epoch; None if the submitter does not say."""
        return submission_time(self.id)

    def carried(self) -> Mapping[str, str]:
        """Return the entries for the context of the job; nothing if its unique says everything."""
        due = carried_due(self.id, self.due) if self.due else {}
        if self.unique == self.id and self.priority is Priority.NORMAL:
            return due
        return {**carried(self.id, self.unique, self.priority.value), **due}

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


def submission_time(job_id: str) -> float | None:
    """Return the time in an id that has one, in seconds since the epoch."""
    return int(job_id[:12], 16) / 1000 if _TIMED.fullmatch(job_id) else None


def new_ids() -> Iterator[int]:
    """
    Return the ids of jobs that are submitted together, as numbers: each is the one before and 1.

    The first has 71 random bits: ids of other processes and hosts in the same millisecond differ.
    """
    drawn = int.from_bytes(os.urandom(10)) & _RANDOM
    return itertools.count(int(time.time() * 1000) << 80 | _VERSION_7 | drawn)


def carried(job_id: str, unique: str, priority: str) -> dict[str, str]:
    """Return the entry for the context of a job with these properties."""
    return {CARRIED: f"{job_id}/{priority}/{'' if unique == job_id else unique}"}


def carried_due(job_id: str, due: str) -> dict[str, str]:
    """Return the entry for the context of a job that was due at this time, in ISO format."""
    return {DUE: f"{job_id}/{due}"}


def without_reserved(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a context as jobs and submitters see it."""
    return {name: value for name, value in context.items() if name not in RESERVED}


def reserved_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a context that jobs and submitters do not see."""
    return {name: context[name] for name in RESERVED if name in context}


def id_of(function: str, unique: str) -> str:
    """
    Return the id of a job whose context has none.

    A generated unique is the id itself. For other uniques the id is a digest, so jobs with the same
    unique share their id.
    """
    if generated := _ATTEMPT.fullmatch(unique):
        return generated[1]
    plain = unique.replace("-", "").lower()  # the usual format
    return plain if _ID.fullmatch(plain) else _digest(f"{function}\0{fit_unique(unique)}")


def identity_of(assigned: AssignedJob, attempt: int, context: Mapping[str, Any] | None) -> Identity:
    """
    Return the identity of a job from the context on the wire.

    If the context is unreadable (None), the id of a job with its submitter's unique is "".
    """
    identity = _identity_of(assigned, attempt, context)
    due = (context or {}).get(DUE)
    if isinstance(due, str) and due.startswith(f"{identity.id}/"):
        return identity._replace(due=due.partition("/")[2])
    return identity


def _identity_of(
    assigned: AssignedJob, attempt: int, context: Mapping[str, Any] | None
) -> Identity:
    unique = assigned.unique
    generated = _ATTEMPT.fullmatch(unique)
    if context is None and not generated:
        return Identity("", unique)
    identity = carried_identity(context or {})
    if identity is not None and fit_unique(identity.unique_of(attempt)) == unique:
        return identity
    if generated:
        return Identity(generated[1], generated[1])
    return Identity(id_of(assigned.function, unique or assigned.handle), unique)


def carried_identity(context: Mapping[str, Any]) -> Identity | None:
    """Return the identity in a context, which may be that of the job that submitted this one."""
    carried = context.get(CARRIED)
    if isinstance(carried, str) and (found := _CARRIED.fullmatch(carried)):
        return Identity(found[1], found[3] or found[1], _PRIORITIES[found[2]])
    return None


def attempt_of_unique(unique: str) -> int:
    """Return the number of the attempt in its unique; 1 if there is none."""
    found = _LATER.fullmatch(unique)
    return int(found[1]) if found else 1


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()

"""A question to a job server: does a client wait for a job of another program?"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from ...protocol.names import MAX_UNIQUE_BYTES, own_handle
from ...protocol.packets import PacketType, encode, to_bytes
from ..base import AssignedJob

#: Sends packets, of which the last asks for a status. Returns the number of waiting clients, and
#: the total of the progress, for each answer.
Ask = Callable[[bytes], Iterable[tuple[int, int]]]


def ask_awaited(job: AssignedJob, ask: Ask) -> bool | None:
    """
    Return True if a client waits for a current job; None if the server cannot say.

    The server looks for a unique of any function, so it may find another job. A progress that no
    other job has proves that it is this one. A client would see that progress, so the first
    question is without it.
    """
    unique = to_bytes(job.unique)
    if not 0 < len(unique) <= MAX_UNIQUE_BYTES:
        return None
    question = encode(PacketType.GET_STATUS_UNIQUE, unique)
    if any(clients for clients, _ in ask(question)):
        return True
    handle, mark = own_handle(job.handle), 1 + secrets.randbelow(2**32 - 1)
    progress = encode(PacketType.WORK_STATUS, handle, b"0", b"%d" % mark)
    for clients, total in ask(progress + question):
        if total == mark:
            return clients > 0
    return None

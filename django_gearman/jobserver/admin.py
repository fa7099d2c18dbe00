"""The admin protocol of a job server: lines of text for administrators and monitoring."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..utils import release
from .dispatcher import Dispatcher
from .state import DELAYED, QUEUED, Job

#: Clients compare it with versions of gearmand, whose rules this server follows.
VERSION = b"2.0.0"
#: The answer to a command that only this server knows.
SOFTWARE = f"gearman_server {release.VERSION}".encode()
_OK = b"OK\r\n"
_HTTP_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"PATCH")
_NO_WEB_SERVER = b"This is a Gearman job server, and no web server.\n"


class Command:
    """A command line, with the objects that it may act on."""

    def __init__(self, line: bytes, dispatcher: Dispatcher, is_loopback: bool) -> None:
        self.words = line.split()
        self.dispatcher = dispatcher
        self.is_loopback = is_loopback
        self.is_last = False  # close the connection after the answer

    def answer(self) -> bytes:
        """Run the command, and return the whole answer."""
        words = self.words
        for length in (2, 1):
            run = _COMMANDS.get(b" ".join(words[:length]).lower())
            if run is not None:
                self.words = words[length:]
                return run(self)
        if len(words) == 3 and words[0] in _HTTP_METHODS and words[2].startswith(b"HTTP/"):
            self.is_last = True
            size = b"%d" % len(_NO_WEB_SERVER)
            head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            return head + b"Content-Length: " + size + b"\r\n\r\n" + _NO_WEB_SERVER
        if words[:1] == [b"show"] and len(words) > 1:
            return b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"
        shown = b"".join(words[:1])[:100]
        return b"ERR UNKNOWN_COMMAND Unknown+server+command" + shown + b"\r\n"


def _incomplete(command: bytes) -> bytes:
    text = b"An+incomplete+set+of+arguments+was+sent+to+this+command+" + command
    return b"ERR INVALID_ARGUMENTS " + text + b"\r\n"


def _rows(rows: list[bytes]) -> bytes:
    return b"".join([*(row + b"\n" for row in rows), b".\n"])


def _status(command: Command) -> bytes:
    return _rows(
        [
            b"%b\t%d\t%d\t%d" % (_shown(each.name), each.total, each.running, each.workers)
            for each in command.dispatcher.table.counts()
        ]
    )


def _priority_status(command: Command) -> bytes:
    return _rows(
        [
            b"%b\t%d\t%d\t%d\t%d" % (_shown(each.name), *each.queued, each.workers)
            for each in command.dispatcher.table.counts()
        ]
    )


def _workers(command: Command) -> bytes:
    rows = []
    for each in command.dispatcher.peers:
        client_id = _shown(each.worker.client_id) or b"-"
        names = b"".join(b" " + _shown(name) for name in reversed(each.worker.functions))
        rows.append(b"%d %b %b :%b" % (each.number, each.address.encode(), client_id, names))
    return _rows(rows)


def _show_jobs(command: Command) -> bytes:
    jobs = command.dispatcher.table.jobs.values()
    return _rows([b"%b\t%d\t0\t%d" % (each.handle, each.retries, each.background) for each in jobs])


def _show_unique_jobs(command: Command) -> bytes:
    return _rows([_shown(each.unique) for each in command.dispatcher.table.jobs.values()])


def _cancel_job(command: Command) -> bytes:
    if not command.words:
        return _incomplete(b"cancel")
    job: Job | None = command.dispatcher.table.jobs.get(command.words[0])
    if job is None:
        return b"ERR UNKNOWN_JOB\r\n"
    command.dispatcher.fail(job)
    return _OK


def _purge(command: Command) -> bytes:
    """Fail the waiting and the delayed jobs of a function; answer with their number."""
    if not command.words:
        return _incomplete(b"purge")
    jobs = [
        job
        for job in command.dispatcher.table.jobs.values()
        if job.function.name == command.words[0] and job.state in (QUEUED, DELAYED)
    ]
    for job in jobs:
        command.dispatcher.fail(job)
    return b"OK %d\r\n" % len(jobs)


def _create_function(command: Command) -> bytes:
    if not command.words:
        return _incomplete(b"create")
    command.dispatcher.table.create(command.words[0])
    return _OK


def _drop_function(command: Command) -> bytes:
    if not command.words:
        return _incomplete(b"drop")
    if not command.dispatcher.table.has_function(command.words[0]):
        return b"ERR function not found\r\n"
    if not command.dispatcher.table.drop(command.words[0]):
        return b"ERR there are still connected workers or executing clients\r\n"
    return _OK


def _max_queue(command: Command) -> bytes:
    if not command.words:
        return _incomplete(b"maxqueue")
    given = [int(word) if word.isdigit() and len(word) < 10 else 0 for word in command.words[1:4]]
    limits = given * 3 if len(given) == 1 else [*given, 0, 0, 0][:3]
    high, normal, low = limits
    command.dispatcher.table.limit(command.words[0], (high, normal, low))
    return _OK


def _shutdown(command: Command) -> bytes:
    if not command.is_loopback:
        return b"ERR NOT_ALLOWED shutdown+is+for+connections+from+this+machine\r\n"
    command.dispatcher.shutdown.set()
    return _OK


_COMMANDS: Mapping[bytes, Callable[[Command], bytes]] = {
    b"status": _status,
    b"prioritystatus": _priority_status,
    b"workers": _workers,
    b"show jobs": _show_jobs,
    b"show unique": _show_unique_jobs,
    b"cancel job": _cancel_job,
    b"purge": _purge,
    b"create function": _create_function,
    b"drop function": _drop_function,
    b"maxqueue": _max_queue,
    b"getpid": lambda command: b"OK %d\n" % os.getpid(),
    b"version": lambda command: b"OK %b\n" % VERSION,
    b"software": lambda command: b"OK %b\n" % SOFTWARE,
    b"verbose": lambda command: b"OK ERROR\n",
    b"shutdown": _shutdown,
}


def _shown(name: bytes) -> bytes:
    """Return a name without characters that would end its field or its line."""
    return bytes(byte if byte > 32 and byte != 127 else 95 for byte in name)

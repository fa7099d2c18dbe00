"""Signals of a supervisor, as bytes on a socket, and a check of its terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

from .forking import HANDLED, insist, is_shortage


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """Yield a socket that receives the number of each signal; an ignored SIGHUP stays ignored."""
    wake, written = insist(socket.socketpair, "the supervisor cannot receive signals")
    for end in (wake, written):
        end.setblocking(False)
    fd_before = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    before = {number: signal.getsignal(number) for number in (*HANDLED, signal.SIGPIPE)}
    for number in HANDLED:
        if number != signal.SIGHUP or before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # blocked while the program was replaced
    try:
        yield wake
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(fd_before)
        wake.close()
        written.close()


def has_terminal() -> bool:
    """Return True if this process has a terminal that can send it signals."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError as error:
        return is_shortage(error)  # it may have one
    return True

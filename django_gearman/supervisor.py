"""
Keep a number of processes running until told to stop. Knows nothing of Gearman or Django.

SIGTERM and SIGINT are passed on to the processes as SIGTERM, which they are expected to obey; a
second one kills them. A process that dies otherwise is replaced; one that could not even start stops
the whole, because the next would fail alike.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)

#: What `run` returns when a process could not start.
CANNOT_START = 3

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_RESPAWN_SECONDS = 1.0  # between deaths of one place, so that a crash at once does not spin


class Supervisor:
    """
    Runs `processes` forked copies of this process.

    In each, `start()` prepares and returns (run, stop): `run()` does the work until `stop()` is
    called, from a signal handler, to make it return. An error in `start` is final
    for all; one in `run` costs one process.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
        processes: int,
    ) -> None:
        self._start = start
        self._processes = processes
        self._born: dict[
            int, tuple[float, int]
        ] = {}  # when, and where it tells that it has started
        self._signals = 0
        self._failed = False

    def run(self) -> int:
        """Work until told to stop; return the exit code: 0, or CANNOT_START."""
        before = {number: signal.signal(number, self._on_signal) for number in _STOPPING}
        try:
            for _ in range(self._processes):
                self._spawn()
            while self._born:
                self._reap()
        except BaseException:
            self._tell_all(signal.SIGTERM)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return CANNOT_START if self._failed else 0

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals += 1
        self._tell_all(signal.SIGTERM if self._signals == 1 else signal.SIGKILL)

    def _tell_all(self, number: signal.Signals) -> None:
        for process in list(self._born):
            with suppress(ProcessLookupError):  # it has just been reaped
                os.kill(process, number)

    def _spawn(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that came between the check, the fork and the bookkeeping would miss the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            if self._stopping:
                return
            started, telling = os.pipe()
            process = os.fork()
            if process == 0:
                os.close(started)
                self._be_child(telling)
            os.close(telling)
            self._born[process] = time.monotonic(), started
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def _reap(self) -> None:
        """Wait for a process to end, and replace it if it should not have."""
        process, status = os.waitpid(-1, 0)
        if process not in self._born:
            return  # somebody else's
        born, started = self._born.pop(process)
        has_started = os.read(started, 1) != b""
        os.close(started)
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(status)
        if code > 0 and not has_started:
            logger.error("worker process %d could not start; stopping the others", process)
            self._failed = True
            self._tell_all(signal.SIGTERM)
        else:
            how = (
                f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            )
            logger.error("worker process %d %s; starting another one", process, how)
            time.sleep(max(0.0, born + _RESPAWN_SECONDS - time.monotonic()))
            self._spawn()

    @property
    def _stopping(self) -> bool:
        return bool(self._signals) or self._failed

    def _be_child(self, telling: int) -> None:
        """Do the work, and leave without what the parent has set up for its own exit."""
        code = 1
        try:
            # Ctrl-C in a terminal reaches the children too; their parent tells them what to do. A
            # handler, because an ignored signal would stay ignored in programs that jobs start.
            signal.signal(signal.SIGINT, lambda *_: None)
            run, stop = self._start()
            os.write(telling, b"1")
            os.close(telling)  # now, so that no program that a job starts keeps it open
            signal.signal(signal.SIGTERM, lambda *_: stop())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
            run()
            code = 0
        except BaseException:  # noqa: BLE001 - it is shown, and there is no caller to raise it to
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

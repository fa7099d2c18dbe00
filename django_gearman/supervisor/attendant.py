"""
The attendant: a process of the supervisor beside its workers, which runs periodic services.

The workers do not need it. If it dies, it is replaced, and they continue. Each service has a thread, so
a service that waits or fails does not stop the others.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .account import Status
from .forking import delay_after, name_process
from .overview import ANSWER_SECONDS, Overview, Seen, ask_overview
from .process import Run, Slot, Stop
from .scoreboard import Scoreboard

logger = logging.getLogger(__name__)

#: The name of the process, in logs and for `ps`.
NAME = "attendant"
#: Seconds that a service has to finish its turn when the attendant stops.
STOP_SECONDS = 5.0

_JITTER = 0.1  # the share of an interval that is chosen at random
_LEAST_SECONDS = 0.01  # between two turns
_FIRST_SECONDS = 1.0  # longest delay of the first turn
_LOOK_SECONDS = 1.0  # between two looks at the parent process

#: Called after each turn of a service in its thread, with True if the turn failed.
Tidy = Callable[[bool], object]


@dataclass(frozen=True)
class Service:
    """
    A periodic service; it may be an object's method, which keeps its own state.

    `turn` is called about every `every` seconds, in the same thread each time, with the attendant.
    It may return the number of seconds until its next turn. A long turn must end when
    `attendant.is_stopping`. An exception is logged, and the next turn comes later. `wake` is called in
    another thread when the attendant stops, so that a turn that waits for something else ends.
    """

    name: str
    turn: Callable[[Attendant], float | None]
    every: float = 1.0
    wake: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        if not 0 < self.every < math.inf:
            raise ValueError(f"service {self.name}: every={self.every} is not a number of seconds")


class Attendant:
    """
    The services of this process.

    `channel` leads to the supervisor. Without one, a program runs these services alone: there are no
    other processes to see, and none to end with.
    """

    def __init__(
        self,
        services: Sequence[Service],
        channel: socket.socket | None,
        tidy: Tidy = lambda failed: None,
    ) -> None:
        self._services = services
        self._channel = channel
        self._tidy = tidy
        self._asking = threading.Lock()
        self._stopping = threading.Event()
        self._parent = os.getppid()
        self._wake, self._written = socket.socketpair()
        self._written.setblocking(False)

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def parent(self) -> int:
        """The id of the supervisor's process."""
        return self._parent

    def wait(self, seconds: float) -> bool:
        """Wait for a part of a long turn; return True at once if the attendant stops."""
        return self._stopping.wait(seconds)

    @contextlib.contextmanager
    def processes(self) -> Iterator[list[Seen]]:
        """Yield the supervisor's processes with their scoreboards, which are open in this block."""
        with self.overview() as found:
            yield found.processes

    @contextlib.contextmanager
    def overview(self, seconds: float = ANSWER_SECONDS) -> Iterator[Overview]:
        """
        Yield the supervisor's processes, as `processes` does, its status, and its dead processes.

        Raises TimeoutError if the supervisor does not answer within `seconds`.
        """
        found = Overview([], Status(0, 0, False), {})
        if self._channel is not None:
            with self._asking:
                found = ask_overview(self._channel, seconds)
        try:
            yield found
        finally:
            for each in found.processes:
                each.scoreboard.close()

    def run(self) -> None:
        """Run the services until `stop` is called or the parent process has ended."""
        threads = [
            threading.Thread(target=self._serve, args=(each,), name=each.name, daemon=True)
            for each in self._services
        ]
        for thread in threads:
            thread.start()
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        while not poller.poll(_LOOK_SECONDS * 1000):
            if self._channel is not None and os.getppid() != self._parent:
                break
        self._stopping.set()
        for service in self._services:
            with contextlib.suppress(Exception):  # it has STOP_SECONDS anyway
                service.wake()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                logger.warning("service %s did not stop in %g s", thread.name, STOP_SECONDS)

    def stop(self) -> None:
        """Make `run` return; a signal handler may call this."""
        with contextlib.suppress(OSError):
            self._written.send(b"!")

    def _serve(self, service: Service) -> None:
        last: type[BaseException] | None = None
        failures = 0
        seconds = random.uniform(0, min(service.every, _FIRST_SECONDS))
        while not self.wait(seconds):
            seconds = service.every * random.uniform(1 - _JITTER, 1 + _JITTER)
            try:
                asked = service.turn(self)
                if asked is not None:
                    seconds = max(_LEAST_SECONDS, asked)
            except BaseException as error:  # noqa: BLE001 - it must not end the thread
                failures += 1
                seconds = max(seconds, delay_after(failures))
                if type(error) is not last:
                    _log(
                        logger.error,
                        "service %s failed; it will run again",
                        service.name,
                        error=error,
                    )
                last = type(error)
            else:
                if failures:
                    _log(logger.info, "service %s works again", service.name)
                last, failures = None, 0
            with contextlib.suppress(Exception):
                self._tidy(last is not None)


def _log(
    write: Callable[..., None], message: str, *args: object, error: BaseException | None = None
) -> None:
    """Write a record; a log handler that fails must not end a service."""
    try:
        write(message, *args, exc_info=error)
    except Exception as failure:  # noqa: BLE001 - of the project's handler
        print(message % args, repr(error or ""), repr(failure), file=sys.stderr)


def attendant_slot(services: Sequence[Service], tidy: Tidy = lambda failed: None) -> Slot:
    """Return the supervisor's slot for an attendant with these services."""
    return Slot(NAME, partial(_prepare, services, tidy), is_attendant=True)


def _prepare(
    services: Sequence[Service], tidy: Tidy, scoreboard: Scoreboard, channel: socket.socket
) -> tuple[Run, Stop]:
    name_process(NAME)
    attendant = Attendant(services, channel, tidy)
    return attendant.run, attendant.stop

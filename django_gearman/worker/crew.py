"""
The slots of a worker with several jobs at a time.

The thread of `work` owns the session: it hands each job to a free slot. A `def` job runs in the thread
of the slot. An `async def` job is a task of the worker's loop.

The lowest free slot gets the next job. A worker with little to do uses few threads and connections.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, NoReturn, TypeAlias

from ..backends.base import AssignedJob, JobSpec, Submission, WorkerSession
from ..exceptions import BackendError
from ..jobs.definition import JobDefinition
from ..utils.clock import monotonic
from ..utils.records import get_logger, log
from .coroutines import execute_on_loop
from .execution import Submit, execute
from .forks import end_if_forked
from .isolation import end_transactions
from .loop import KeptLoop, use_loop
from .observer import WorkerObserver
from .slot import Slot
from .transactions import closes_own_connections
from .watch import Watch, watch_thread

logger = get_logger(__name__)

#: Seconds without a job until the connections of a slot's thread are closed.
RELEASE_SECONDS = 10.0

_LEAST_SECONDS = 0.001  # of a wait

#: The first arguments of `execute`.
_About: TypeAlias = tuple[JobDefinition, AssignedJob, WorkerSession, Submit, WorkerObserver]


class Steps(NamedTuple):
    """
    The steps of a worker, each for the thread of a slot.

    `run` runs a job of a session, with its outcome, and cleans the connections. `lose` notes that an
    outcome could not be reported. `clean` closes broken and old database connections of the thread,
    `release` all of them.
    """

    run: Callable[[WorkerSession, Submit, WorkerObserver, AssignedJob], None]
    lose: Callable[[AssignedJob, WorkerObserver, BackendError], None]
    clean: Callable[[], None]
    release: Callable[[], None]


class Crew:
    """The slots of a worker; all methods run in its thread, unless stated otherwise."""

    def __init__(
        self,
        number: int,
        steps: Steps,
        functions: Mapping[str, JobDefinition],
        observer: WorkerObserver,
        loop: KeptLoop,
        submit: Submit,
    ) -> None:
        self._number = number
        self._steps = steps
        self.functions = functions
        self._observer = observer
        self._loop = loop
        self._process = os.getpid()
        self._slots: list[Slot] = []
        self._free: list[int] = []  # a heap
        self._ended: deque[Slot] = deque()  # since the last `collect`
        self._kept: deque[AssignedJob] = deque()  # the system had no thread for them
        self._waiting: deque[Callable[[], None]] = deque()  # tasks for the loop
        self._is_posted = False  # the loop is about to start them
        self._error: BaseException | None = None
        self.session: WorkerSession | None = None
        self._submit = submit
        self.watch = Watch(self._wake)
        self._tidied_at = 0.0

    # The thread of the worker

    @property
    def has_free(self) -> bool:
        return not self._kept and (bool(self._free) or len(self._slots) < self._number)

    @property
    def is_idle(self) -> bool:
        return len(self._free) == len(self._slots)

    def collect(self) -> None:
        """Take back the slots whose jobs have ended, and interrupt those whose time is over."""
        while self._ended:
            slot = self._ended.popleft()
            slot.idle_since = monotonic()
            heapq.heappush(self._free, slot.number)
            if self._kept:
                self.start(self._kept.popleft())
            elif self.is_idle:
                self._observer.idle()
        if self._error is not None:
            raise self._error
        self.watch.enforce()

    def start(self, assigned: AssignedJob) -> None:
        """Start a job in a free slot, or later, if the system has no more threads."""
        number = heapq.heappop(self._free) if self._free else self._new_slot()
        slot = self._slots[number]
        try:
            self._hand_over(slot, assigned)
        except RuntimeError as error:
            self._keep(slot, assigned, error)
        if not self.has_free:
            self._observer.full()

    def _hand_over(self, slot: Slot, assigned: AssignedJob) -> None:
        job = self.functions.get(assigned.function)
        if job is not None and job.is_async:
            loop = self._loop.start()
            self._waiting.append(partial(self._start_task, slot, job, assigned))
            if not self._is_posted:  # read after the task is there
                self._is_posted = True
                loop.call_soon_threadsafe(self._start_tasks)
        else:
            slot.thread.post(partial(self._run, slot, assigned))

    def _keep(self, slot: Slot, assigned: AssignedJob, error: RuntimeError) -> None:
        """Keep a job until another one has ended, and run no more at a time than now."""
        if slot is self._slots[-1]:
            self._slots.pop()
        else:
            heapq.heappush(self._free, slot.number)
        if self.is_idle:
            raise error  # this process cannot work; it ends, and other workers get the job
        self._kept.append(assigned)
        if self._number != len(self._slots):
            message = "%s: this process runs %d jobs at a time from now on, and not %d"
            log(logger, logging.ERROR, message, error, len(self._slots), self._number)
            self._number = len(self._slots)
        self._limit_session()

    def _limit_session(self) -> None:
        assert self.session is not None
        self.session.slots = min(self.session.slots, self._number)

    def _new_slot(self) -> int:
        number = len(self._slots)
        observer = self._observer.of_slot(number)
        self._slots.append(Slot(number, observer, self._begin_thread))
        return number

    def seconds_until_look(self, most: float) -> float:
        """Return the seconds until the next call of `collect`, at most `most`."""
        return max(_LEAST_SECONDS, min(most, self.watch.next_at - monotonic()))

    def tidy(self) -> None:
        """Close the connections of the slots that have been idle for long."""
        now = monotonic()
        if now < self._tidied_at + 1.0:
            return
        self._tidied_at = now
        for number in self._free:
            slot = self._slots[number]
            if now - slot.idle_since >= RELEASE_SECONDS:
                slot.idle_since = math.inf
                slot.thread.post_if_started(self._steps.release)

    def close(self, *, wait: bool = True) -> None:
        """End the threads of the slots; wait for that only if the slots are free."""
        for slot in self._slots:
            slot.thread.post_if_started(self._steps.release)
            slot.thread.shutdown(wait)

    # The thread of the worker: its work

    def serve(
        self,
        is_over: Callable[[int], bool],
        burst: bool,
        tell: Callable[[WorkerSession], None],
    ) -> int:
        """
        Run jobs of the session until `is_over` returns True for their number, or with `burst` until
        none is left; then finish those that run.

        `tell` is called about ten times a second. Returns the number of jobs that were started.
        """
        session = self.session
        assert session is not None
        self._limit_session()
        count = 0
        while not is_over(count):
            tell(session)
            self.collect()
            was_idle = self.is_idle
            wants_none = burst and was_idle and session.is_known
            seconds = 0.0 if wants_none else self.seconds_until_look(session.idle_seconds)
            if not self.has_free:
                session.attend(seconds)
            elif (assigned := session.grab_job(seconds)) is not None:
                self.start(assigned)
                count += 1
            elif wants_none and session.is_known:
                break
            else:
                self.tidy()
        return count + self._finish(session, tell)

    def _finish(self, session: WorkerSession, tell: Callable[[WorkerSession], None]) -> int:
        """Run the jobs that are assigned already, and wait until all have ended."""
        count = 0
        session.ask_no_more()
        while True:
            tell(session)
            self.collect()
            may_start = session.holds_jobs and self.has_free
            if may_start and (assigned := session.grab_job(0)) is not None:
                self.start(assigned)
                count += 1
            elif self.is_idle:
                return count
            else:
                session.attend(self.seconds_until_look(session.idle_seconds))

    # The threads of the slots

    def _begin_thread(self) -> None:
        use_loop(self._loop)
        watch_thread(self.watch)
        closes_own_connections()

    def _run(self, slot: Slot, assigned: AssignedJob) -> None:
        assert self.session is not None
        try:
            self._steps.run(self.session, self._submit, slot.observer, assigned)
        except BaseException as error:  # noqa: BLE001 - the worker's thread raises it
            self._error = error
        self._end(slot)

    def _end(self, slot: Slot) -> None:
        slot.task = None
        self._ended.append(slot)
        self._wake()

    def _wake(self) -> None:
        if self.session is not None:
            self.session.wake()

    # The thread of the loop

    def _start_tasks(self) -> None:
        while True:
            while self._waiting:
                try:
                    self._waiting.popleft()()
                except BaseException as error:  # noqa: BLE001 - the worker's thread raises it
                    self._error = error
                    self._wake()
            self._is_posted = False
            if not self._waiting:  # since the worker posts again
                return

    def _start_task(self, slot: Slot, job: JobDefinition, assigned: AssignedJob) -> None:
        assert self.session is not None
        about = job, assigned, self.session, self._submit, slot.observer
        slot.rest = partial(execute, *about)  # unless the task begins
        task = execute_on_loop(*about, self._loop, slot.in_thread, slot.leave)
        slot.task = asyncio.get_running_loop().create_task(task, context=slot.context())
        slot.task.add_done_callback(partial(self._end_task, slot, about))

    def _end_task(self, slot: Slot, about: _About, task: asyncio.Task[None]) -> None:
        """End a job after its task; in the thread of the slot, if something may block."""
        rest, slot.rest = slot.rest, None
        # A task that the job itself cancels as its last act is cancelled, too, after its outcome.
        error = None if task.cancelled() else task.exception()
        if rest is None and error is not None:
            rest = partial(_raise, error)
        try:
            if rest is not None or slot.thread.is_used:
                slot.thread.is_used = False
                slot.thread.post(partial(self._run_rest, slot, *about[:2], rest))
                return
            self._note_end(slot)
        except BaseException as error:  # noqa: BLE001 - the worker's thread raises it
            self._error = error
        self._end(slot)

    # The thread of a slot, for a task

    def _run_rest(
        self,
        slot: Slot,
        job: JobDefinition,
        assigned: AssignedJob,
        rest: Callable[[], object] | None,
    ) -> None:
        try:
            end_transactions((job.name, assigned.handle), {})
            try:
                if rest is not None:
                    rest()
            except BackendError as error:
                self._steps.lose(assigned, slot.observer, error)
            self._note_end(slot)
            self._steps.clean()
        except BaseException as error:  # noqa: BLE001 - the worker's thread raises it
            self._error = error
        self._end(slot)

    def _note_end(self, slot: Slot) -> None:
        end_if_forked(self._process)
        slot.observer.ended()


def _raise(error: BaseException) -> NoReturn:
    raise error


def locked(submit: Submit) -> Submit:
    """Return a function that submits for one thread at a time, by a backend of all threads."""
    lock = threading.Lock()

    def submit_alone(specs: Sequence[JobSpec]) -> list[Submission]:
        with lock:
            return submit(specs)

    return submit_alone

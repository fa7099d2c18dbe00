"""A recording transport of a test, with its workers: it passes everything on to the chosen ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from ..backends.base import (
    AssignedJob,
    BaseBackend,
    FunctionStatus,
    JobSpec,
    JobStatus,
    Outcome,
    ServerAnswer,
    Submission,
    Update,
    WorkerSession,
    WorkerStatus,
    WorkFail,
    WorkWarning,
)
from ..client.request import JobRequest
from ..exceptions import BackendError, ConnectionLost, JobNotRegistered
from ..jobs.context import running
from ..serializers.failures import parse_error
from ..worker.execution import Run
from .outbox import SubmittedJob
from .state import State
from .waiting import WatchedSubmission

_IDLE_SECONDS = 0.05  # of a worker whose server is down, or whose test has ended
_REQUEUE_LOOKS = 1000  # checks of a job that the server is about to give to another worker


class Served(Protocol):
    """An object that runs the jobs of a test."""

    def queued(self, backend: BaseBackend) -> None: ...

    def serve(self, backend: BaseBackend, spec: JobSpec, handle: str) -> bool: ...

    def complain(self, spec: JobSpec, timeout: float | None, looks: int) -> None: ...


class RecordingBackend(BaseBackend):
    """
    A backend that records submissions, and applies the installed faults.

    Clients make one for the `requests` that they submit. Workers have one without: they only submit
    the next attempts of their jobs.
    """

    def __init__(
        self,
        state: State,
        backend: BaseBackend,
        runner: Served,
        requests: Sequence[JobRequest] | None,
    ) -> None:
        self._state = state
        self._backend = backend
        self._runner = runner
        self._requests = requests
        self.local = backend.local
        self.supports_delayed = backend.supports_delayed
        self.supports_slots = backend.supports_slots
        # On real servers, a waiting client runs its job in its own thread, with the test's database
        # connections.
        self.runs_in_caller = backend.runs_in_caller or not (state.is_quiet or backend.local)

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        self._state.faults.check_server()
        submissions = self._backend.submit(specs)
        if self._requests is None:
            for spec, submission in zip(specs, submissions, strict=True):
                self._follow(spec, submission)
            return submissions
        for request, submission in zip(self._requests, submissions, strict=True):
            if submission.error is None:
                record = self._state.outbox.add(request, submission.handle)
                # On "eager", a client gets the outcome before it can read anything.
                record.was_seen = self._backend.runs_in_caller and not request.background
        self._runner.queued(self._backend)
        if not self._backend.runs_in_caller:
            serve = partial(self._runner.serve, self._backend)
            submissions = [
                WatchedSubmission(each, spec, self._state.outbox, serve, self._runner.complain)
                for each, spec in zip(submissions, specs, strict=True)
            ]
        return self._state.faults.change(submissions)

    def _follow(self, spec: JobSpec, submission: Submission) -> None:
        """Record that the running job is queued again, before the end of this run is reported."""
        run = running.get()
        if run is not None and submission.error is None:
            delay = 0.0 if spec.run_at is None else max(0.0, spec.run_at - time.time())
            self._state.outbox.follow(run.job_context.handle, submission.handle, delay)

    def register(
        self, functions: Sequence[str] | None, client_id: str = "", slots: int = 1
    ) -> RecordingSession:
        """Register a recorded worker; None serves any function, on "eager"."""
        make: Callable[[], WorkerSession] = partial(
            self._backend.register,
            functions,  # type: ignore[arg-type]
            client_id,
            **({} if slots == 1 else {"slots": slots}),
        )
        session = RecordingSession(self._state, self._backend, make, functions)
        session.slots = slots
        return session

    def job_status(self, handle: str) -> JobStatus:
        self._state.faults.check_server()
        return self._backend.job_status(handle)

    def functions(self) -> list[FunctionStatus]:
        self._state.faults.check_server()
        return self._backend.functions()

    def workers(self) -> list[WorkerStatus]:
        self._state.faults.check_server()
        return self._backend.workers()

    def ping(self, timeout: float) -> Mapping[str, BackendError | None]:
        self._state.faults.check_server()
        return self._backend.ping(timeout)

    def probe(self, timeout: float) -> Mapping[str, ServerAnswer]:
        self._state.faults.check_server()
        return self._backend.probe(timeout)

    def close(self) -> None:
        self._backend.close()


class RecordingSession(WorkerSession):
    """
    A session that passes everything on, records it in the outbox, and applies the installed faults.

    `functions` None serves any. A worker whose outcome is lost leaves, and another one takes its
    place from the server's view. After the test, the worker does nothing.
    """

    def __init__(
        self,
        state: State,
        backend: BaseBackend,
        make: Callable[[], WorkerSession],
        functions: Sequence[str] | None,
    ) -> None:
        self._state = state
        self._backend = backend
        self._make = make
        self._functions = None if functions is None else frozenset(functions)
        self._thread = threading.get_ident()
        self._session = make()
        self._has_left = False
        self._reasons: dict[str, bytes] = {}  # of the failures that come next, by handle
        state.workers.add(self)

    def is_of_this_thread(self) -> bool:
        return self._thread == threading.get_ident()

    def serves(self, function: str) -> bool:
        return self._functions is None or function in self._functions

    def grab_job(self, timeout: float | None = None) -> AssignedJob | None:
        self._thread = threading.get_ident()
        if self._state.has_ended or self._state.faults.is_server_down:
            self._leave_if_over()
            time.sleep(min(_IDLE_SECONDS, timeout or 0.0))
            return None
        self._session.left = self.left
        job = self._session.grab_job(timeout)
        if job is not None:
            self.left -= 1
            self._state.calls.begun(job)
            self._state.outbox.tell(job.handle, SubmittedJob.begin)
        return job

    def send(self, job: AssignedJob, update: Update) -> None:
        if isinstance(update, Outcome) and self._is_lost(job):
            self.lose(job)
            raise ConnectionLost(
                f"the outcome of job {job.handle} was lost, and another worker runs it, as "
                f"deliver_twice() or crash_worker_during() is active for {job.function}"
            )
        self._note_failure(job, update)
        # First, so that a client that waits for the job finds it here when it continues.
        self._state.outbox.tell(job.handle, SubmittedJob.take, job.handle, update)
        self._session.send(job, update)

    def _note_failure(self, job: AssignedJob, update: Update) -> None:
        """Record the job's exception, of which only the text is sent."""
        if isinstance(update, WorkFail):
            run = running.get()
            if isinstance(run, Run) and run.handle == job.handle:
                if run.ending is not None and run.ending.exception is not None:
                    self._state.job_failed(job.handle, run.ending.exception)
            elif failure := parse_error(
                self._reasons.get(job.handle, b"")
            ):  # of a job that no worker knows
                self._state.job_failed(job.handle, JobNotRegistered(failure["message"]))
        if isinstance(update, WorkWarning):
            self._reasons[job.handle] = update.data
        else:
            self._reasons.pop(job.handle, None)

    def _is_lost(self, job: AssignedJob) -> bool:
        faults, run = self._state.faults, running.get()
        if not faults.all:
            return False
        is_of_stub = run is None or run.job_context.handle != job.handle  # which has no attempts
        return faults.loses(job) or (is_of_stub and faults.crashes(job, job.handle) > 0)

    def attend(self, timeout: float) -> None:
        self._session.attend(timeout)

    def wake(self) -> None:
        self._session.wake()

    def flush(self) -> None:
        self._session.flush()

    def give_back(self, job: AssignedJob) -> bool:
        return self._session.give_back(job)

    def is_awaited(self, job: AssignedJob) -> bool | None:
        return self._session.is_awaited(job)

    def lose(self, job: AssignedJob) -> None:
        """Leave with a current job, and come again when the server has queued it."""
        self._session.close()
        for _ in range(_REQUEUE_LOOKS):
            if not self._backend.job_status(job.handle).running:
                break
            time.sleep(0.005)
        self._session = self._make()

    def _leave_if_over(self) -> None:
        if self._state.has_ended and not self._has_left:
            self._has_left = True
            self._session.close()

    def close(self) -> None:
        self._state.workers.discard(self)
        self._session.close()

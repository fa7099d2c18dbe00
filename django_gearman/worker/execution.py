"""
The execution of one assigned job, and the report on it. Only this module calls a job's function.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from .. import conf, environment
from ..backends.base import (
    AssignedJob,
    JobSpec,
    Outcome,
    Submission,
    WorkComplete,
    WorkerSession,
    WorkFail,
)
from ..exceptions import (
    BackendError,
    ConnectionLost,
    JobCancelled,
    ProtocolError,
    SerializationError,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from ..jobs import keeping
from ..jobs.context import running
from ..jobs.definition import JobDefinition
from ..jobs.retries import RetryJob, attempt_of, delayed
from ..middleware import NONE, chain_of
from ..serializers import BareCall, Call, check_bytes, digest_of
from ..serializers.failures import dump_error
from ..utils.records import format_errors_once
from .isolation import apart, call
from .observer import NO_OBSERVER, WorkerObserver
from .reporting import (
    raise_if_interrupted,
    report_failure,
    tell_answered,
    tell_finished,
    tell_started,
)
from .runs import Ending, RunAttributes, RunLost

#: `BaseBackend.submit`
Submit: TypeAlias = Callable[[Sequence[JobSpec]], list[Submission]]

_REFUSED_SECONDS = 0.5  # seconds until a job is tried again if the server refuses its next attempt
# Errors that prevent queueing the next attempt now, and may pass.
_PASSING = (ServerUnavailable, ConnectionLost, SubmitUncertain, ServerError, ProtocolError)


@apart
def execute(
    job: JobDefinition,
    assigned: AssignedJob,
    session: WorkerSession,
    submit: Submit,
    observer: WorkerObserver = NO_OBSERVER,
) -> Outcome:
    """
    Run the job, report its outcome, send logs and signals, and return the outcome.

    The project's middleware nests. The other steps are calls, one after another: that is easier to
    read, and takes less time. The outcome is sent before the logs and signals about it.
    """
    seconds = observer.time_limit(job.timeout)
    observer.began(assigned, seconds)
    run = Run(job, assigned, session, submit)
    if job.varies:
        seconds = observer.time_limit(run.job.timeout)
        observer.limited(assigned, seconds)
    running.set(run)  # in the context of this run, which ends with it
    if keeping.keeper is not None and (
        keeping.records_all
        or run.job.store_result
        or run.call.attempt > 1
        or assigned.unique[32:33] == ":"  # a later attempt, whose workload does not say so
    ):
        run.may_have_record = True
        if (known := keeping.keeper.begin(run)) is not None:
            return run.answer(known, observer)
    tell_started(run)
    ending = run.perform(seconds)
    observer.returned()
    ending = run.report(ending, observer)
    observer.reported(ending.state)
    tell_finished(run, ending)
    return ending.outcome


class Run(RunAttributes):
    """One run of a job that a server has assigned; middleware sees it as `run`."""

    _is_our_clients = False  # it came in the envelope of our clients

    def __init__(
        self, job: JobDefinition, assigned: AssignedJob, session: WorkerSession, submit: Submit
    ) -> None:
        self.job = job
        self.assigned = assigned
        self.session = session
        self._submit = submit
        serializer, self.middleware = conf.run_settings()
        self._serializer = job.serializer_for(assigned.function, serializer)
        try:
            arrived = self._serializer.loads_call(assigned.workload)
            self._is_our_clients = type(arrived) is not BareCall
            self.call = attempt_of(arrived)
            self._came_with = self.call.attempt, arrived.context
            if job.varies:
                self.job, self._checked = job.for_call(self.call, self)
            else:
                self._checked = job.check_call(self.call)
        except BaseException as error:  # noqa: BLE001 - decoding may run code of the project's
            self._unreadable = error
            self.call = self._checked = Call()

    @property
    def is_readable(self) -> bool:
        """True if the workload could be parsed, and the arguments match the job's signature."""
        return self._unreadable is None

    # Running

    def perform(self, seconds: float | None) -> Ending:
        """Run the job through the project's middleware; return its ending."""
        try:
            chain = chain_of(self.middleware) if self.middleware else NONE
            chain = environment.current().middleware(chain)
            if not chain.around_run:
                return self._run_function(seconds)
            self.was_called = True  # exceptions of middleware count as the job's
            return checked(chain.run(self, partial(self._run_function, seconds)))
        except RunLost:
            raise
        except BaseException as error:  # noqa: BLE001 - a job must never end its worker
            raise_if_interrupted(error)
            return self.failed(error)

    def _run_function(self, seconds: float | None) -> Ending:
        """
        Call the function with a time limit in seconds; return its result or its exception.

        No other code calls it.
        """
        started = time.monotonic()
        job = self.job
        try:
            args, kwargs = self.arguments()
            names = job.name, self.assigned.handle
            result = call(job.func, args, kwargs, seconds, job.is_async, names)
            ending = self.succeed(result)
        except BaseException as error:  # noqa: BLE001 - a job must never end its worker
            raise_if_interrupted(error)
            ending = self.failed(error)
        ending.seconds = time.monotonic() - started
        return ending

    def succeed(self, result: object) -> Ending:
        """
        Return the ending of a job with this result; raise SerializationError if it cannot be sent.
        """
        try:
            outcome = self._serializer.dumps_result(result)
            if type(outcome) is not bytes:
                outcome = check_bytes(outcome, self._serializer)
        except SerializationError as error:
            self.was_called = False  # a retry would give the same result
            raise SerializationError(f"the result of job {self.job.name}: {error}") from error
        return Ending(WorkComplete(outcome), result=result)

    # Failures

    def failed(self, error: BaseException, *, died: bool = False) -> Ending:
        """Return the ending of a run that raised this: the job fails, or runs again."""
        format_errors_once()
        try:
            delay = self._delay_after(error, died)
            if delay is not None and self._is_awaited():
                delay = None
            if delay is not None:
                return Ending(
                    WorkComplete(b""),  # of a background job, without a waiting client
                    error,
                    again=self._next_attempt(delay),
                    delay=delay,
                )
        except BaseException as another:  # noqa: BLE001 - whatever it is, the job has failed
            raise_if_interrupted(another)
            _set_context(another, error)
            error = another
        return Ending(WorkFail(), error, reason=self._reason(error))

    def _delay_after(self, error: BaseException, died: bool) -> float | None:
        """Return the delay until the job runs again, in seconds; None if it does not."""
        policy, attempt, kind = self.job.retry_policy, self.call.attempt, type(error)
        if issubclass(kind, JobCancelled):
            return None
        if issubclass(kind, RetryJob):  # not by isinstance, which calls code of the exception
            asked: float | None = error.delay  # type: ignore[attr-defined]
            if policy.retries is None:
                return asked or 0.0
            if policy.has_left(attempt):
                return policy.delay_after(attempt, error) if asked is None else asked
            return None
        if died or (self.was_called and issubclass(kind, policy.retry_on)):
            return policy.delay_after(attempt, error) if policy.has_left(attempt) else None
        return None

    def _is_awaited(self) -> bool:
        """Return True if a client may wait for the job; that client must get the error."""
        background = self.assigned.background
        if background is None:  # of another program, whose unique does not say this
            return self.session.is_awaited(self.assigned) is not False
        return not background

    def _next_attempt(self, delay: float) -> JobSpec:
        who, attempt = self.identity, self.call.attempt + 1
        context = {**self.call.context, **who.carried()}
        call = self._arrived()._replace(attempt=attempt, context=context)
        again = check_bytes(self._serializer.dumps_call(call), self._serializer)
        function, unique = self.assigned.function, who.unique_of(attempt)
        spec = JobSpec(function, again, unique, who.priority, background=True)
        return delayed(spec, delay) if delay > 0 else spec

    def _arrived(self) -> Call:
        """Return the call as it arrived: the job may have changed its arguments."""
        return self._serializer.loads_call(self.assigned.workload)

    # Reporting

    def report(self, ending: Ending, observer: WorkerObserver = NO_OBSERVER) -> Ending:
        """Send the outcome, and return it; if it cannot be sent, a failure."""
        if self.may_have_record or ending.exception is not None:
            ending = self._keep(ending)
        if ending.exception is None:
            try:
                self.session.send(self.assigned, ending.outcome)
                return ending
            except BackendError:
                raise
            except Exception as error:  # noqa: BLE001 - it is too large for a packet, or the memory
                ending = self._keep(self.failed_for_good(error, ending))
        elif ending.again is not None:
            ending = self._queue_again(ending, ending.again)
            if ending.handle:
                observer.resubmitted()
                self.session.send(self.assigned, ending.outcome)
                self.session.flush()  # otherwise it could run beside its next attempt
                return ending
        self.ending = ending
        report_failure(self.assigned, self.session, ending.reason)
        return ending

    def _queue_again(self, ending: Ending, spec: JobSpec) -> Ending:
        """Queue the next attempt before this one ends: a crash in between loses nothing."""
        try:
            [submission] = self._submit([spec])
            if isinstance(submission.error, ServerError) and spec.run_at is None:
                # The queue is full; delayed jobs have a separate queue.
                [submission] = self._submit([delayed(spec, _REFUSED_SECONDS)])
            if submission.error is not None:
                raise submission.error
            ending.handle = submission.handle
            return ending
        except _PASSING as error:
            _set_context(error, ending.exception)
            if isinstance(error, ServerError):
                time.sleep(_REFUSED_SECONDS)  # otherwise it would run and be refused again at once
            if self.session.give_back(self.assigned):
                raise
            return self._keep(self.failed_for_good(error, ending))
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed
            return self._keep(self.failed_for_good(error, ending))

    def answer(self, ending: Ending, observer: WorkerObserver = NO_OBSERVER) -> Outcome:
        """Report the ending of an earlier run, from its record, and return the outcome."""
        observer.returned()
        if ending.exception is None:
            self.session.send(self.assigned, ending.outcome)
        else:
            report_failure(self.assigned, self.session, ending.reason)
        observer.reported(ending.state)
        tell_answered(self, ending)
        return ending.outcome

    def _keep(self, ending: Ending) -> Ending:
        """Record an ending before it is reported, if there is a store; return the one to report."""
        if keeping.keeper is None:
            return ending
        kept: Ending = keeping.keeper.keep(self, ending)
        return kept

    def failed_for_good(self, error: BaseException, ending: Ending) -> Ending:
        """Return the ending of a run that failed like this in place of `ending`."""
        _set_context(error, ending.exception)
        return Ending(WorkFail(), error, ending.seconds, reason=self._reason(error))

    def _reason(self, error: BaseException) -> bytes:
        shows = conf.sends_traceback(to_own_client=self._is_our_clients)
        return dump_error(error, with_traceback=shows)

    # Logs and signals

    @property
    def digest(self) -> str:
        """A digest of the arguments, which is the same for equal arguments."""
        same = self.assigned.workload
        if not same:  # it was too large for the scoreboard
            return "unknown"
        with suppress(Exception):
            return digest_of(self._arrived(), self._serializer)
        return hashlib.blake2b(same, digest_size=8).hexdigest()


def checked(ending: object) -> Ending:
    """Return the ending from a middleware; raise TypeError for anything else."""
    if type(ending) is Ending:
        return ending
    raise TypeError(
        "a middleware's around_run returns what proceed() or run.succeed(value) returned, "
        f"not {ending!r:.200}"
    )


def _set_context(error: BaseException, context: BaseException | None) -> None:
    """Set the context of an exception, if the exception allows it."""
    with suppress(BaseException):
        if context is not None and error is not context and error.__context__ is None:
            error.__context__ = context

"""Stubs, which answer for workers of other programs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from .. import conf
from ..backends.base import AssignedJob, WorkComplete, WorkerSession, WorkException
from ..exceptions import ConnectionLost
from ..jobs.definition import JobDefinition
from ..jobs.registry import registry
from ..protocol.names import check_name
from ..serializers import Call, Serializer, check_bytes
from .installed import Installed

#: Registers a worker of the named functions.
Register = Callable[[list[str]], WorkerSession]
#: Returns the submitter's serializer for a job, by its handle.
SerializerOf = Callable[[str], Serializer]


class Stub(Installed):
    """An answer to a job: a function, a value to return, or an error to raise."""

    def __init__(
        self,
        stubs: list[Stub],
        job: str | JobDefinition,
        function: Callable[..., Any] | None,
        returns: Any,
        raises: Exception | type[Exception] | None,
    ) -> None:
        if callable(returns) and function is None:
            function, returns = returns, None
        if sum(given is not None for given in (function, returns, raises)) > 1:
            raise TypeError("a stub takes one of a function, returns= and raises=")
        if raises is not None and not _is_error(raises):
            raise TypeError(f"raises is an exception, not {raises!r}")
        if function is not None and not callable(function):
            raise TypeError(f"a stub answers by a function, not {function!r}; write returns=...")
        self.name = job.name if isinstance(job, JobDefinition) else check_name(job, "job name")
        if registry.find(self.name) is None and not conf.is_external(self.name):
            raise registry.unknown(self.name)  # as submitting it does in production
        self.function = conf.function_name(self.name)
        self._call = function
        self._returns = returns
        self._raises = raises
        super().__init__(stubs)

    def answer(self, call: Call, serializer: Serializer) -> bytes:
        """Return the result; raise the stub's error, or SerializationError."""
        if self._raises is not None:
            raise self._raises
        value = self._returns if self._call is None else self._call(*call.args, **call.kwargs)
        return check_bytes(serializer.dumps_result(value), serializer)


def _is_error(value: object) -> bool:
    return isinstance(value, Exception) or (
        isinstance(value, type) and issubclass(value, Exception)
    )


class Stubs:
    """
    The stubs of a test; the latest one answers.

    They stand for programs that always run, so they answer as soon as a job is queued. Like workers
    in other languages, they report an error by its text; `failed` gets the error itself.
    """

    def __init__(
        self, serializer_of: SerializerOf, failed: Callable[[str, BaseException], None]
    ) -> None:
        self._failed = failed
        self.all: list[Stub] = []
        self._serializer_of = serializer_of

    def answers(self, job_name: str) -> bool:
        return any(stub.name == job_name for stub in self.all)

    def answer(self, register: Register) -> None:
        """Answer the queued jobs."""
        stubs = {stub.function: stub for stub in self.all}
        if not stubs:
            return
        with closing(register(list(stubs))) as worker:
            while (job := worker.grab_job(0)) is not None:
                with suppress(ConnectionLost):  # the job is queued again
                    self._answer(stubs[job.function], job, worker)

    def _answer(self, stub: Stub, job: AssignedJob, worker: WorkerSession) -> None:
        serializer = self._serializer_of(job.handle).for_function(stub.function)
        try:
            result = stub.answer(serializer.loads_call(job.workload), serializer)
        except BaseException as error:  # noqa: BLE001 - pytest.fail() is one, and the job must end
            self._failed(job.handle, error)
            worker.send(job, WorkException(str(error).encode()))
        else:
            worker.send(job, WorkComplete(result))

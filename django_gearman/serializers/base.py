"""The base class of serializers, and the values of a call."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

_ENVELOPE = {"args", "kwargs", "attempt", "context"}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Call(NamedTuple):
    """
    The arguments of one run of a job, with the number of the attempt and the submitter's context.

    `header` has the other values that a job's own serializer carries.
    """

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = _NOTHING
    attempt: int = 1
    context: Mapping[str, Any] = _NOTHING
    header: Mapping[str, Any] = _NOTHING

    def __reduce__(self) -> tuple[Any, ...]:
        mappings = dict(self.context), dict(self.header)
        return Call, (self.args, dict(self.kwargs), self.attempt, *mappings)


class BareCall(Call):
    """A call with one argument and without an envelope, as programs in other languages send it."""

    __slots__ = ()


class Serializer(ABC):
    """
    The base of all serializers. Subclass it for another format, and name the class in
    GEARMAN_SERIALIZER.

    For values that they cannot convert, both methods raise SerializationError, and no other
    exception.
    """

    #: True if a workload has the names of arguments and the number of the attempt. Otherwise it is the
    #: single argument itself.
    carries_calls: ClassVar[bool] = True

    @abstractmethod
    def dumps(self, value: Any) -> bytes:
        """Convert a value to bytes."""

    @abstractmethod
    def loads(self, data: bytes) -> Any:
        """Convert bytes back to a value."""

    def for_function(self, function: str) -> Serializer:
        """
        Return the serializer for the calls, updates and results of one function on the job server.

        By default it is this one. Override it if the bytes of one function must be invalid for
        another.
        """
        return self

    def dumps_result(self, value: Any) -> bytes:
        """Convert the result of a job to bytes."""
        return self.dumps(value)

    def loads_result(self, data: bytes) -> Any:
        """Convert bytes to a result; no bytes, as workers in other languages may send, are None."""
        return self.loads(data) if data else None

    def dumps_update(self, value: Any) -> bytes:
        """Convert data or a warning of a running job to bytes."""
        return self.dumps(value)

    def loads_update(self, data: bytes) -> Any:
        """Convert bytes to data or a warning of a running job."""
        return self.loads(data)

    def dumps_call(self, call: Call) -> bytes:
        """Convert a job's arguments to a workload."""
        envelope: dict[str, Any] = {"args": list(call.args), "kwargs": dict(call.kwargs)}
        if call.attempt > 1:
            envelope["attempt"] = call.attempt
        if call.context:
            envelope["context"] = dict(call.context)
        return self.dumps(envelope)

    def dumps_items(self, items: Sequence[Any]) -> list[bytes]:
        """Convert the single arguments of many calls to workloads, as `dumps_call` does."""
        return [self.dumps_call(Call((item,))) for item in items]

    def dumps_external(self, call: Call) -> bytes:
        """Convert the arguments of another program's job to a workload."""
        return self.dumps_call(call)

    def unique_key(self, call: Call) -> bytes:
        """
        Return a key for unique=True, which is the same for equal calls: JSON with sorted keys.
        """
        workload = self.dumps_call(call)
        with suppress(ValueError, RecursionError):
            return json.dumps(json.loads(workload), sort_keys=True).encode()
        return workload

    def loads_call(self, workload: bytes) -> Call:
        """Convert a workload to a job's arguments."""
        if not workload:
            return BareCall()
        value = self.loads(workload)
        if type(value) is not dict or "args" not in value or "kwargs" not in value:
            return BareCall([value])
        args, kwargs = value["args"], value["kwargs"]
        if len(value) == 2:  # the usual case
            if type(args) is list and type(kwargs) is dict:
                return Call(args, kwargs)
        elif value.keys() <= _ENVELOPE:
            attempt, context = value.get("attempt", 1), value.get("context", {})
            found = type(args), type(kwargs), type(attempt), type(context)
            if found == (list, dict, int, dict):
                return Call(args, kwargs, attempt, context)
        return BareCall([value])

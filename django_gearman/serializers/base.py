"""What a serializer is, and how a call travels through one."""

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
    """The arguments of one run of a job, which attempt it is, and the submitter's context."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = _NOTHING
    attempt: int = 1
    context: Mapping[str, Any] = _NOTHING

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, (self.args, dict(self.kwargs), self.attempt, dict(self.context))


class BareCall(Call):
    """A call of one argument, which came without an envelope, as programs in other languages send it."""

    __slots__ = ()


class Serializer(ABC):
    """
    How values travel. Subclass it for a format of your own, and name the class in GEARMAN_SERIALIZER.

    Both methods raise SerializationError, and nothing else, for what they cannot do.
    """

    #: Whether a workload tells the names of arguments and the number of the attempt; otherwise it is
    #: the one argument itself.
    carries_calls: ClassVar[bool] = True

    @abstractmethod
    def dumps(self, value: Any) -> bytes:
        """Turn a value into bytes."""

    @abstractmethod
    def loads(self, data: bytes) -> Any:
        """Turn bytes into the value they were made of."""

    def for_function(self, function: str) -> Serializer:
        """
        Return the serializer for the calls, updates and results of one function on the job server.

        It is this one, unless bytes of one function should mean nothing to another.
        """
        return self

    def dumps_result(self, value: Any) -> bytes:
        """Turn what a job returned into bytes."""
        return self.dumps(value)

    def loads_result(self, data: bytes) -> Any:
        """Turn a result into a value; no bytes, as other languages' workers may send, are None."""
        return self.loads(data) if data else None

    def dumps_update(self, value: Any) -> bytes:
        """Turn data or a warning that a job sends while it runs into bytes."""
        return self.dumps(value)

    def loads_update(self, data: bytes) -> Any:
        """Turn data or a warning of a running job into a value."""
        return self.loads(data)

    def dumps_call(self, call: Call) -> bytes:
        """Turn a job's arguments into a workload."""
        envelope: dict[str, Any] = {"args": list(call.args), "kwargs": dict(call.kwargs)}
        if call.attempt > 1:
            envelope["attempt"] = call.attempt
        if call.context:
            envelope["context"] = dict(call.context)
        return self.dumps(envelope)

    def dumps_external(self, call: Call) -> bytes:
        """Turn the arguments of another program's job into a workload."""
        return self.dumps_call(call)

    def unique_key(self, call: Call) -> bytes:
        """Return what equal calls have in common, for unique=True: JSON with its keys sorted."""
        workload = self.dumps_call(call)
        with suppress(ValueError, RecursionError):
            return json.dumps(json.loads(workload), sort_keys=True).encode()
        return workload

    def loads_call(self, workload: bytes) -> Call:
        """Turn a workload into a job's arguments."""
        if not workload:
            return BareCall()
        value = self.loads(workload)
        if type(value) is not dict or "args" not in value or "kwargs" not in value:
            return BareCall([value])
        args, kwargs = value["args"], value["kwargs"]
        if len(value) == 2:  # as most are
            if type(args) is list and type(kwargs) is dict:
                return Call(args, kwargs)
        elif value.keys() <= _ENVELOPE:
            attempt, context = value.get("attempt", 1), value.get("context", {})
            found = type(args), type(kwargs), type(attempt), type(context)
            if found == (list, dict, int, dict):
                return Call(args, kwargs, attempt, context)
        return BareCall([value])

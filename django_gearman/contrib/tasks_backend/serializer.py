"""The workload of a task: one JSON object, with the task's path, its arguments and its options."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from ...exceptions import SerializationError
from ...serializers import Call, Serializer
from ...serializers.tags import WRITERS, CannotPack
from ...utils.text import repr_of, str_of

VERSION = 1
_VERSION = "version"
_FIXED = ("task", "priority", "queue_name", "backend", "run_after")
_PLAIN = (int, bool, type(None))
_KEY = {str: WRITERS[str]}
_CALL = ("args", "kwargs", "attempt", "context")

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder().decode  # json.loads would also look for other encodings


class TaskSerializer(Serializer):
    """
    Plain JSON, as `django.tasks` demands.

    A call's `header` has the names that `TaskQueue.header` writes: task, priority, queue_name,
    backend, run_after and enqueued_at.
    """

    def dumps(self, value: Any) -> bytes:
        try:
            if type(value) in _PLAIN:  # the usual results
                return WRITERS[type(value)](value).encode()
            return _encode(value).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise SerializationError(
                f"{repr_of(value, 60)} cannot be written as JSON: {str_of(error, 200)}"
            ) from None

    def loads(self, data: bytes) -> Any:
        try:
            return _decode(data.decode())
        except (ValueError, RecursionError) as error:
            raise SerializationError(
                f"not JSON: {repr_of(data[:60])}, {len(data)} bytes in all ({str_of(error, 200)})"
            ) from None

    def dumps_call(self, call: Call) -> bytes:
        if call.attempt == 1 and not call.context:
            try:
                return _write_flat(call)
            except (KeyError, TypeError, CannotPack):
                pass  # arguments in arguments, or other fields than most
        payload = {_VERSION: VERSION, **call.header, "args": call.args, "kwargs": call.kwargs}
        if call.attempt > 1:
            payload["attempt"] = call.attempt
        if call.context:
            payload["context"] = call.context
        return self.dumps(payload)

    def loads_call(self, workload: bytes) -> Call:
        payload = self.loads(workload)
        version = payload.pop(_VERSION, None) if type(payload) is dict else None
        if type(version) is not int:
            raise SerializationError(
                f"not the workload of a task: {repr_of(workload[:60])}, {len(workload)} bytes in all"
            )
        if version > VERSION:
            raise SerializationError(
                f"the task was enqueued by a newer release of django-gearman, in format {version}; "
                f"this worker reads format {VERSION}. Upgrade the workers first"
            )
        found = [payload.pop(name, None) for name in _CALL]
        args, kwargs, attempt, context = found
        attempt, context = 1 if attempt is None else attempt, {} if context is None else context
        kinds = type(args), type(kwargs), type(attempt), type(context)
        if kinds != (list, dict, int, dict):
            raise SerializationError(
                f"the workload of a task has wrong arguments: {repr_of(workload[:200])}"
            )
        return Call(args, kwargs, attempt, context, payload)


def _write_flat(call: Call) -> bytes:
    """Write the usual call, in a third of the time; raise one of several errors for another."""
    header = call.header
    fields = _fields(*map(header.__getitem__, _FIXED))
    args = ",".join([WRITERS[type(value)](value) for value in call.args])
    kwargs = ",".join([f"{_KEY[type(k)](k)}:{WRITERS[type(v)](v)}" for k, v in call.kwargs.items()])
    at = header["enqueued_at"]
    return f'{fields},"enqueued_at":"{at}","args":[{args}],"kwargs":{{{kwargs}}}}}'.encode()


@lru_cache(1000)
def _fields(*fixed: Any) -> str:
    """Write the fields that all calls of a task have in common."""
    return _encode({_VERSION: VERSION, **dict(zip(_FIXED, fixed, strict=True))})[:-1]


SERIALIZER = TaskSerializer()


def as_json(value: Any) -> Any:
    """Return a value as it comes back from JSON; raise TypeError or ValueError if it cannot."""
    return _decode(_encode(value))

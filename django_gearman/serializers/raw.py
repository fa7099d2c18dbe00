"""The serializer `raw`: plain bytes."""

from __future__ import annotations

import json
from typing import Any

from ..exceptions import SerializationError
from ..utils.text import quoted, str_of
from .base import BareCall, Call, Serializer


class RawSerializer(Serializer):
    """
    Plain bytes: the workload is the single argument of a job, and the job returns bytes.

    The job may also return text, which is sent as UTF-8, None, which is sent as no bytes, or a
    plain JSON value, which is sent as JSON. Its work is done at that time, so it should not fail
    for the type of its result.
    """

    carries_calls = False

    def dumps(self, value: Any) -> bytes:
        if value is None:
            return b""
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        try:
            if isinstance(value, str):
                return value.encode()
            return json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise SerializationError(
                f'serializer="raw" carries bytes, not {quoted(value)}; encode it '
                f"({str_of(error, 200)})"
            ) from None

    def loads(self, data: bytes) -> Any:
        return data

    def loads_result(self, data: bytes) -> Any:
        return data

    def dumps_call(self, call: Call) -> bytes:
        if call.kwargs or len(call.args) != 1:
            raise SerializationError(
                'serializer="raw" carries one argument, of bytes, and no keyword arguments'
            )
        if call.attempt > 1:
            raise SerializationError('serializer="raw" cannot carry the number of the attempt')
        [argument] = call.args
        if not isinstance(argument, (bytes, bytearray, memoryview, type(None))):
            raise SerializationError(
                f'serializer="raw" carries an argument of bytes, not {quoted(argument)}; encode it'
            )
        return self.dumps(argument)

    def unique_key(self, call: Call) -> bytes:
        return self.dumps_call(call)

    def loads_call(self, workload: bytes) -> Call:
        return BareCall([workload])

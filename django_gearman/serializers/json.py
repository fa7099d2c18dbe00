"""The serializer `json`: JSON that keeps Python's types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..exceptions import SerializationError
from ..utils.text import repr_of, str_of
from .base import Call, Serializer
from .refusals import refusal
from .tags import LONG, TAG, WRITERS, CannotPack, is_plain, parse_string, unpack, write

# The type is Any because typeshed lacks scan_once. It is not strict, so that short and long texts
# are parsed alike.
_plain: Any = json.JSONDecoder(strict=False)
_tagged: Any = json.JSONDecoder(strict=False, object_hook=unpack)

# The form in which `JSONSerializer.dumps_call` writes them.
_CALL_START, _CALL_END = b'{"args":[', b'],"kwargs":{}}'
_KEY = {str: WRITERS[str]}


def _write_members(values: Mapping[str, Any]) -> str:
    return ",".join([f"{_KEY[type(k)](k)}:{WRITERS[type(v)](v)}" for k, v in values.items()])


class JSONSerializer(Serializer):
    """JSON that keeps Python's types."""

    def dumps(self, value: Any) -> bytes:
        try:
            write_plain = WRITERS.get(type(value), write)  # the usual case of a result
            return write_plain(value).encode()
        except (CannotPack, ValueError, RecursionError):
            raise SerializationError(refusal(value)) from None

    def loads(self, data: bytes) -> Any:
        try:
            if len(data) > LONG and (string := parse_string(data)) is not None:
                return string
            text = data.decode()
            decoder = _tagged if "_" in text and TAG in text else _plain  # this search is quick
            try:
                value, end = decoder.scan_once(text, 0)
            except StopIteration:
                end = -1
            return value if end == len(text) else decoder.decode(text)  # with spaces around it
        except SerializationError:
            raise
        except RecursionError:
            raise SerializationError(
                f"nested too deeply to be read: {repr_of(data[:60])}, {len(data)} bytes in all"
            ) from None
        except ValueError as error:
            shown = data if len(data) <= 60 else data[:60] + b"..."
            raise SerializationError(
                f"not JSON: {shown!r} ({str_of(error, 200)}); for plain bytes, declare the "
                'job with serializer="raw"'
            ) from None

    def dumps_call(self, call: Call) -> bytes:
        if call.attempt == 1:
            try:
                args = ",".join([WRITERS[type(value)](value) for value in call.args])
                kwargs = _write_members(call.kwargs) if call.kwargs else ""
                if not call.context:
                    return f'{{"args":[{args}],"kwargs":{{{kwargs}}}}}'.encode()
                context = _write_members(call.context)
                return f'{{"args":[{args}],"kwargs":{{{kwargs}}},"context":{{{context}}}}}'.encode()
            except (KeyError, ValueError, CannotPack):
                pass  # it has more fields than most calls
        return super().dumps_call(call)

    def dumps_items(self, items: Sequence[Any]) -> list[bytes]:
        if type(self) is JSONSerializer:  # another one may write calls in another way
            if {*map(type, items)} == {str} and is_plain("".join(items)):
                return [f'{{"args":["{item}"],"kwargs":{{}}}}'.encode() for item in items]
            with suppress(KeyError, ValueError, CannotPack):  # not of the types that JSON has
                return [
                    f'{{"args":[{WRITERS[type(item)](item)}],"kwargs":{{}}}}'.encode()
                    for item in items
                ]
        return super().dumps_items(items)

    def dumps_external(self, call: Call) -> bytes:
        """
        Convert the arguments of another program's job to a workload.

        A single argument is sent without envelope, so a program in any language can read it. An
        argument that looks like an envelope is sent in one.
        """
        if call.kwargs or len(call.args) != 1:
            return self.dumps_call(call)
        [value] = call.args
        if type(value) is dict and {"args", "kwargs"} <= value.keys():
            return self.dumps_call(call)
        return self.dumps(value)

    def loads_call(self, workload: bytes) -> Call:
        is_long = len(workload) > LONG and workload.startswith(_CALL_START)
        if is_long and workload.endswith(_CALL_END):  # it may be a single long text
            string = parse_string(workload[len(_CALL_START) : -len(_CALL_END)])
            if string is not None:
                return Call([string])
        return super().loads_call(workload)

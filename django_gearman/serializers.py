"""
Values to bytes and back.

A call travels as an object with the keys "args" and "kwargs" ("attempt" from the second on, and
"context" where there is one); any other value is its single argument, so that clients in other
languages need no envelope.

`json` keeps Python's types: beside JSON's own, it tags Decimal, datetime, date, time, timedelta,
UUID, bytes, tuple, set, frozenset, SafeString, and the floats that JSON lacks. Anything else is
refused by name, because it would come back as something else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.core.signing import BadSignature, Signer
from django.utils.module_loading import import_string

from .exceptions import SerializationError
from .json_types import (
    LONG,
    TAG,
    WRITERS,
    CannotPack,
    explain,
    locate,
    pack,
    read_string,
    unpack,
)

_to_json = json.JSONEncoder(separators=(",", ":")).encode
# Any, as typeshed does not know scan_once; not strict, so that short and long texts are read alike.
_plain: Any = json.JSONDecoder(strict=False)
_tagged: Any = json.JSONDecoder(strict=False, object_hook=unpack)

# As `JSONSerializer.dumps_call` writes them.
_CALL_START, _CALL_END = b'{"args":[', b'],"kwargs":{}}'
_ENVELOPE = {"args", "kwargs", "attempt", "context"}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Call(NamedTuple):
    """The arguments of one run of a job, which attempt it is, and the submitter's context."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = _NOTHING
    attempt: int = 1
    context: Mapping[str, Any] = _NOTHING


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

    def loads_result(self, data: bytes) -> Any:
        """Turn a result into a value; no bytes, as other languages' workers may send, are None."""
        return self.loads(data) if data else None

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
            return Call()
        value = self.loads(workload)
        if type(value) is not dict or "args" not in value or "kwargs" not in value:
            return Call([value])
        args, kwargs = value["args"], value["kwargs"]
        if len(value) == 2:  # as most are
            if type(args) is list and type(kwargs) is dict:
                return Call(args, kwargs)
        elif value.keys() <= _ENVELOPE:
            attempt, context = value.get("attempt", 1), value.get("context", {})
            found = type(args), type(kwargs), type(attempt), type(context)
            if found == (list, dict, int, dict):
                return Call(args, kwargs, attempt, context)
        return Call([value])


class JSONSerializer(Serializer):
    """JSON that brings back what went in."""

    def dumps(self, value: Any) -> bytes:
        try:
            if (write := WRITERS.get(type(value))) is not None:  # as for most results
                return write(value).encode()
            return _to_json(pack(value)).encode()
        except CannotPack:
            where, culprit = locate(value)
            raise SerializationError(f"cannot serialize {where}: {explain(culprit)}") from None
        except RecursionError:
            raise SerializationError("the value is nested too deeply, or contains itself") from None
        except ValueError as error:  # an integer of more digits than Python writes, say
            raise SerializationError(f"cannot write the value as JSON: {error}") from error

    def loads(self, data: bytes) -> Any:
        try:
            if (string := read_string(data)) is not None:
                return string
            text = data.decode()
            decoder = _tagged if "_" in text and TAG in text else _plain  # to look for one is quick
            try:
                value, end = decoder.scan_once(text, 0)
            except StopIteration:
                end = -1
            return value if end == len(text) else decoder.decode(text)  # with space around it, say
        except SerializationError:
            raise
        except (ValueError, RecursionError) as error:
            shown = data if len(data) <= 60 else data[:60] + b"..."
            raise SerializationError(
                f"not JSON: {shown!r} ({error}); a sender that sends plain bytes wants a job with "
                'serializer="raw"'
            ) from error

    def dumps_call(self, call: Call) -> bytes:
        if call.attempt == 1 and not call.context:
            try:
                args = ",".join([WRITERS[type(value)](value) for value in call.args])
                if not call.kwargs:
                    return f'{{"args":[{args}],"kwargs":{{}}}}'.encode()
                kwargs = ",".join(
                    f"{WRITERS[type(k)](k)}:{WRITERS[type(v)](v)}" for k, v in call.kwargs.items()
                )
                return f'{{"args":[{args}],"kwargs":{{{kwargs}}}}}'.encode()
            except (KeyError, ValueError):
                pass  # there is more to it than most calls have
        return super().dumps_call(call)

    def dumps_external(self, call: Call) -> bytes:
        """
        Turn the arguments of another program's job into a workload.

        A single one travels as it is, without envelope, as a program in any language reads it; but
        one that would be taken for an envelope needs one.
        """
        if call.kwargs or len(call.args) != 1:
            return self.dumps_call(call)
        [value] = call.args
        if type(value) is dict and {"args", "kwargs"} <= value.keys():
            return self.dumps_call(call)
        return self.dumps(value)

    def loads_call(self, workload: bytes) -> Call:
        is_long = len(workload) > LONG and workload.startswith(_CALL_START)
        if is_long and workload.endswith(_CALL_END):  # it may be of one long text
            string = read_string(workload[len(_CALL_START) : -len(_CALL_END)])
            if string is not None:
                return Call([string])
        return super().loads_call(workload)


class PickleSerializer(Serializer):
    """
    Pickles, signed with SECRET_KEY.

    The signature (checked against SECRET_KEY_FALLBACKS too) is what keeps whoever reaches the job
    server from running code here; it does not hide the values.
    """

    def dumps(self, value: Any) -> bytes:
        try:
            pickled = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # pickling runs the value's own code, which raises what it likes
            raise SerializationError(f"cannot pickle a {type(value).__name__}: {error}") from error
        return self._signer().sign(base64.b64encode(pickled).decode()).encode()

    def loads(self, data: bytes) -> Any:
        try:
            pickled = self._signer().unsign(data.decode())
        except (BadSignature, UnicodeDecodeError):
            raise SerializationError(
                "not a pickle signed with this project's SECRET_KEY: it was altered, sent by another "
                "program, or signed with a key that is not in SECRET_KEY_FALLBACKS"
            ) from None
        try:
            return pickle.loads(base64.b64decode(pickled))
        except Exception as error:  # so does unpickling
            raise SerializationError(f"cannot unpickle: {error}") from error

    @staticmethod
    def _signer() -> Signer:
        return Signer(salt="django_gearman.serializers.PickleSerializer")


class RawSerializer(Serializer):
    """Bytes as they are: a job gets its workload as its single argument, and returns bytes."""

    carries_calls = False

    def dumps(self, value: Any) -> bytes:
        if value is None:
            return b""
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise SerializationError(f'serializer="raw" carries bytes, not {value!r}; encode it')
        return bytes(value)

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
        return self.dumps(call.args[0])

    def unique_key(self, call: Call) -> bytes:
        return self.dumps_call(call)

    def loads_call(self, workload: bytes) -> Call:
        return Call([workload])


_BUILT_IN: Mapping[str, Serializer] = {
    "json": JSONSerializer(),
    "pickle": PickleSerializer(),
    "raw": RawSerializer(),
}


def check_bytes(data: object, serializer: Serializer) -> bytes:
    """Return what a serializer has made, as bytes; SerializationError if that cannot be."""
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    if not isinstance(data, bytes):
        raise SerializationError(
            f"{type(serializer).__qualname__} must return bytes, and returned a {type(data).__name__}"
        )
    return data


def digest_of(call: Call, serializer: Serializer) -> str:
    """Return what is the same for the same arguments, and does not give them away."""
    same = serializer.dumps_call(Call(call.args, call.kwargs))
    return hashlib.blake2b(same, digest_size=8).hexdigest()


def get_serializer(spec: object, source: str = "GEARMAN_SERIALIZER") -> Serializer:
    """Return the serializer that a setting or a job names; ImproperlyConfigured if it is none."""
    if type(spec) is str and spec in _BUILT_IN:
        return _BUILT_IN[spec]
    if isinstance(spec, Serializer):
        return spec
    if isinstance(spec, str):
        try:
            spec = import_string(spec)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{source}: {spec!r} is none of {', '.join(_BUILT_IN)}, and not a dotted path ({error})"
            ) from error
    if isinstance(spec, type) and issubclass(spec, Serializer):
        spec = spec()
    if not isinstance(spec, Serializer):
        raise ImproperlyConfigured(
            f"{source}: {spec!r} is not a subclass of django_gearman.serializers.Serializer"
        )
    return spec

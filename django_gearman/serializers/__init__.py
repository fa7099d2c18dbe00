"""
Serializers: values to bytes and back.

A call is an object with the keys "args" and "kwargs" ("attempt" from the second attempt on, and
"context" if there is one). Any other value is the single argument of a call, so clients in other
languages need no envelope.

`json` keeps Python's types. Besides JSON's own types, it tags Decimal, datetime, date, time,
timedelta, UUID, bytes, tuple, set, frozenset, SafeString, and the floats that JSON lacks. It
refuses other types, also subclasses of these, because they would come back as something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..exceptions import SerializationError
from ..utils.text import quoted
from .base import BareCall, Call, Serializer
from .json import JSONSerializer
from .pickle import PickleSerializer, old_pickles
from .raw import RawSerializer

__all__ = [
    "BUILT_IN",
    "BareCall",
    "Call",
    "JSONSerializer",
    "PickleSerializer",
    "RawSerializer",
    "Serializer",
    "check_bytes",
    "digest_of",
    "get_serializer",
    "old_pickles",
]

#: The serializers that have a short name.
BUILT_IN: Mapping[str, Serializer] = {
    "json": JSONSerializer(),
    "pickle": PickleSerializer(),
    "raw": RawSerializer(),
}


def check_bytes(data: object, serializer: Serializer) -> bytes:
    """
    Return the output of a serializer as bytes; raise SerializationError if it is something else.
    """
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    if not isinstance(data, bytes):
        raise SerializationError(
            f"{type(serializer).__qualname__} must return bytes, and returned a {type(data).__name__}"
        )
    return data


def digest_of(call: Call, serializer: Serializer) -> str:
    """Return a digest of the arguments, which is the same for equal arguments."""
    same = serializer.dumps_call(Call(call.args, call.kwargs))
    return hashlib.blake2b(same, digest_size=8).hexdigest()


def get_serializer(spec: object, source: str = "GEARMAN_SERIALIZER") -> Serializer:
    """
    Return the serializer that a setting or a job names; raise ImproperlyConfigured for an unknown
    one.
    """
    if type(spec) is str and spec in BUILT_IN:
        return BUILT_IN[spec]
    if isinstance(spec, Serializer):
        return spec
    if isinstance(spec, str):
        try:
            spec = import_string(spec)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{source}: {quoted(spec)} is none of {', '.join(BUILT_IN)}, and not a dotted "
                f"path ({error})"
            ) from error
    if isinstance(spec, type) and issubclass(spec, Serializer):
        spec = spec()
    if not isinstance(spec, Serializer):
        raise ImproperlyConfigured(
            f"{source}: {quoted(spec)} is not a subclass of django_gearman.serializers.Serializer"
        )
    return spec

"""
The serializer `pickle`: pickles with a signature, so only this project's own pickles are loaded.
"""

from __future__ import annotations

import base64
import pickle
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signing import BadSignature, Signer

from ..exceptions import SerializationError
from ..utils.text import quoted, str_of
from .base import Call, Serializer

#: Version 1.0 used the salt without a suffix.
_OLD_SALT = "django_gearman.serializers.PickleSerializer"


def old_pickles() -> str | None:
    """
    Return GEARMAN_OLD_PICKLES: the handling of pickles that are signed as in 1.0, for any job.

    None refuses them, "read" accepts them, and "write" also makes them.
    """
    value: object = getattr(settings, "GEARMAN_OLD_PICKLES", None)
    if value is None or value == "read" or value == "write":
        return value
    raise ImproperlyConfigured(
        f"GEARMAN_OLD_PICKLES is None, 'read' or 'write', not {quoted(value)}"
    )


class PickleSerializer(Serializer):
    """
    Pickles, signed with SECRET_KEY.

    The signature (also checked against SECRET_KEY_FALLBACKS) stops others from running code here
    with the help of the job server. It does not hide the values. It is valid for one function and
    one purpose: another job refuses the call, and a result is not accepted as a call.
    """

    _function = ""
    _purpose = "result"

    def for_function(self, function: str) -> Serializer:
        return self._with(_function=function)

    def _with(self, **changes: str) -> PickleSerializer:
        other = object.__new__(type(self))  # like copy.copy, in a tenth of the time
        vars(other).update(vars(self), **changes)
        return other

    def dumps(self, value: Any) -> bytes:
        try:
            pickled = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except (
            Exception
        ) as error:  # pickling runs the value's own code, which may raise any exception
            raise SerializationError(
                f"cannot pickle a {type(value).__name__}: {str_of(error, 200)}"
            ) from error
        signer = Signer(salt=_OLD_SALT) if old_pickles() == "write" else self._signer()
        return signer.sign(base64.b64encode(pickled).decode()).encode()

    def loads(self, data: bytes) -> Any:
        pickled = self._unsign(data)
        try:
            return pickle.loads(base64.b64decode(pickled))
        except Exception as error:  # so may unpickling
            raise SerializationError(f"cannot unpickle: {str_of(error, 200)}") from error

    def dumps_call(self, call: Call) -> bytes:
        return Serializer.dumps_call(self._with(_purpose="call"), call)

    def loads_call(self, workload: bytes) -> Call:
        return Serializer.loads_call(self._with(_purpose="call"), workload)

    def dumps_update(self, value: Any) -> bytes:
        return self._with(_purpose="update").dumps(value)

    def loads_update(self, data: bytes) -> Any:
        return self._with(_purpose="update").loads(data)

    def _signer(self) -> Signer:
        return Signer(salt=f"{_OLD_SALT}:{self._purpose}:{self._function}")

    def _unsign(self, data: bytes) -> str:
        try:
            text = data.decode()
            with suppress(BadSignature):
                return self._signer().unsign(text)
            pickled = Signer(salt=_OLD_SALT).unsign(text)
        except (BadSignature, UnicodeDecodeError):
            meant = f"{self._purpose} of {self._function}" if self._function else self._purpose
            raise SerializationError(
                f"not a pickle signed with this project's SECRET_KEY as a {meant}. It was "
                "altered, sent by another program, signed for another job or purpose, or "
                "signed with a key that is not in SECRET_KEY_FALLBACKS"
            ) from None
        if old_pickles() is None:
            raise SerializationError(
                "this pickle was signed by django-gearman 1.0, for any job, and is not "
                "accepted: GEARMAN_OLD_PICKLES = 'read' accepts it while you upgrade"
            )
        return pickled

"""
The arguments of a job as records show them.

Django's own filter of error reports replaces the values of keys like "password" or "token". A job's
`sensitive` parameters are replaced, too.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

from ...jobs.definition import JobDefinition
from ...serializers import Call
from ...utils.text import kind_of, str_of

#: The longest text of arguments, in characters.
MAX_CALL = 10_000
_AS_TEXT = (decimal.Decimal, datetime.datetime, datetime.date, datetime.time, uuid.UUID)
_SHORTEST = 4  # characters of a secret that is looked for in texts; shorter ones are everywhere


def redacted_call(job: JobDefinition | None, call: Call) -> tuple[str, list[str]]:
    """
    Return a call as JSON without its secrets, and the secrets.

    The text is "" if the job keeps no arguments; all of them are secrets then.
    """
    try:
        if job is not None and job.sensitive is True:
            return "", [*_texts(_plain([*call.args, dict(call.kwargs)]))]
        return _redacted(job, call)
    except Exception as error:  # noqa: BLE001 - they are too deep, or run code of the project
        return f"(arguments that cannot be shown: {kind_of(error)})", []


def _redacted(job: JobDefinition | None, call: Call) -> tuple[str, list[str]]:
    args, kwargs, secrets = redacted_values(job, call)
    text = json.dumps({"args": args, "kwargs": kwargs})
    return (text if len(text) <= MAX_CALL else f"{text[:MAX_CALL]}..."), secrets


def redacted_values(
    job: JobDefinition | None, call: Call
) -> tuple[list[Any], dict[str, Any], list[str]]:
    """Return the positional and the named arguments of a call without its secrets, and the secrets."""
    find = Redactor(job)
    args = [
        find.redact(value, *names)
        for value, names in zip(call.args, _positional(job, len(call.args)), strict=True)
    ]
    kwargs = {
        storable(name): find.redact(value, name, *_extra(job, name))
        for name, value in call.kwargs.items()
    }
    return args, kwargs, find.secrets


def redacted_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a context without its secrets, as values of a JSON column."""
    find = Redactor(None)
    with suppress(Exception):  # it is too deep
        return {storable(str_of(name)): find.redact(value, name) for name, value in context.items()}
    return {}


def secrets_in(context: Mapping[str, Any]) -> list[str]:
    """Return the secrets of a context."""
    find = Redactor(None)
    with suppress(Exception):  # it is too deep
        for name, value in context.items():
            find.redact(value, name)
    return find.secrets


def without(secrets: Iterable[str], text: str) -> str:
    """Return a text in which each secret is replaced by asterisks."""
    found = sorted({each for each in secrets if len(each) >= _SHORTEST}, key=len, reverse=True)
    if not found:
        return text
    return re.sub("|".join(map(re.escape, found)), _substitute(), text)


def storable(text: str) -> str:
    """Return a text that every database can store: without NUL and lone surrogates."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


class Redactor:
    """A filter of values; it collects the hidden values in `secrets`."""

    def __init__(self, job: JobDefinition | None) -> None:
        sensitive = () if job is None else job.sensitive
        self._sensitive = sensitive if isinstance(sensitive, tuple) else ()
        self.secrets: list[str] = []
        self._filter = _filter()

    def redact(self, value: Any, *names: str) -> Any:
        """Return the plain form of the value of a parameter, without its secrets."""
        plain = _plain(value)
        if any(name in self._sensitive for name in names):
            self.secrets.extend(_texts(plain))
            return self._filter.cleansed_substitute
        cleansed = plain
        for name in names or ("",):
            cleansed = self._filter.cleanse_setting(name, cleansed)
        self._collect(plain, cleansed)
        return cleansed

    def _collect(self, value: Any, cleansed: Any) -> None:
        if isinstance(value, dict) and isinstance(cleansed, dict):
            for key, each in value.items():
                self._collect(each, cleansed.get(key))
        elif isinstance(value, list) and isinstance(cleansed, list):
            for each, clean in zip(value, cleansed, strict=True):
                self._collect(each, clean)
        elif value != cleansed:
            self.secrets.extend(_texts(value))


def _filter() -> SafeExceptionReporterFilter:
    chosen: Any = get_default_exception_reporter_filter()
    known = isinstance(chosen, SafeExceptionReporterFilter)
    return chosen if known else SafeExceptionReporterFilter()


def _substitute() -> str:
    return _filter().cleansed_substitute


def _positional(job: JobDefinition | None, count: int) -> list[tuple[str, ...]]:
    """Return the name of the parameter that gets each of `count` positional arguments."""
    names: list[tuple[str, ...]] = []
    for parameter in () if job is None else job.signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [(parameter.name,)] * (count - len(names))
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append((parameter.name,))
    return [*names, *[()] * (count - len(names))][:count]


def _extra(job: JobDefinition | None, name: str) -> list[str]:
    """Return the name of the parameter **kwargs if it gets this argument."""
    parameters = {} if job is None else job.signature.parameters
    if name in parameters:
        return []
    return [each.name for each in parameters.values() if each.kind is each.VAR_KEYWORD]


def _plain(value: Any) -> Any:
    """Return a value as dicts, lists, text and numbers: Django's filter looks into these only."""
    if isinstance(value, str):
        return storable(str.__str__(value))
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    if isinstance(value, (*_AS_TEXT, datetime.timedelta)):
        return storable(str_of(value))
    if isinstance(value, Mapping):
        return {storable(str_of(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return f"<{kind_of(value, dotted=True)}>"


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts and numbers in a plain value."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)

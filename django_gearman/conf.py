"""
The settings of this library. Each is read at the time of use.

`DEFAULTS` lists them. Each function returns one checked setting, or raises ImproperlyConfigured.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import empty
from django.utils.module_loading import import_string

from . import middleware as chains
from .protocol.names import check_name
from .utils.numbers import check_seconds
from .utils.text import quoted, repr_of

DEFAULTS: Mapping[str, Any] = {
    "GEARMAN_BACKEND": "gearman",
    "GEARMAN_SERVERS": ("127.0.0.1:4730",),
    "GEARMAN_OPTIONS": {},
    "GEARMAN_JOB_NAME": None,
    "GEARMAN_SERIALIZER": "json",
    "GEARMAN_EXTERNAL_JOBS": (),
    "GEARMAN_WORKERS": None,
    "GEARMAN_JOB_TIMEOUT": None,
    "GEARMAN_SUBMIT_ON_COMMIT": False,
    "GEARMAN_ON_COMMIT_FAILURE": "log",
    "GEARMAN_OUTBOX": False,
    "GEARMAN_SCHEDULE": {},
    "GEARMAN_SEND_TRACEBACKS": None,
    "GEARMAN_CONTEXT_PROVIDER": None,
    "GEARMAN_MIDDLEWARE": (),
    "GEARMAN_OTEL_PARENT": False,
    "GEARMAN_OLD_PICKLES": None,
    "GEARMAN_STORE_ALL": False,
    "GEARMAN_RESULT_TTL": 86400,
    "GEARMAN_FAILURE_TTL": 30 * 86400,
}

#: The choices for a job that cannot be submitted after its transaction has committed.
ON_COMMIT_FAILURE = ("log", "raise")


def _read(name: str) -> Any:
    """Return a setting, or its default."""
    return getattr(_source(), name, DEFAULTS[name])


def _source() -> object:
    """
    Return the object that has the settings, behind Django's lazy one.

    The lazy one takes twice as long to find that a setting is absent, and a job needs several that
    most projects leave out.
    """
    found = object.__getattribute__(settings, "_wrapped")
    return settings if found is empty else found


class JobSettings:
    """
    The settings that each submission needs, read at one moment, and not checked.

    `transport` is GEARMAN_BACKEND, GEARMAN_SERVERS and GEARMAN_OPTIONS.
    """

    __slots__ = (
        "context_provider",
        "job_name",
        "middleware",
        "on_commit",
        "outbox",
        "serializer",
        "transport",
    )

    def __init__(self) -> None:
        source: Any = _source()
        default = DEFAULTS
        self.serializer = getattr(source, "GEARMAN_SERIALIZER", default["GEARMAN_SERIALIZER"])
        self.job_name = getattr(source, "GEARMAN_JOB_NAME", None)
        self.on_commit = getattr(source, "GEARMAN_SUBMIT_ON_COMMIT", False)
        self.outbox = getattr(source, "GEARMAN_OUTBOX", False)
        self.context_provider = getattr(source, "GEARMAN_CONTEXT_PROVIDER", None)
        self.middleware = getattr(source, "GEARMAN_MIDDLEWARE", ()) or chains.added
        self.transport = (
            getattr(source, "GEARMAN_BACKEND", default["GEARMAN_BACKEND"]),
            getattr(source, "GEARMAN_SERVERS", default["GEARMAN_SERVERS"]),
            getattr(source, "GEARMAN_OPTIONS", default["GEARMAN_OPTIONS"]),
        )


def run_settings() -> tuple[Any, Any]:
    """
    Return the settings that each run needs, unchecked: GEARMAN_SERIALIZER, and GEARMAN_MIDDLEWARE
    or the middleware of integrations.
    """
    source = _source()
    serializer = getattr(source, "GEARMAN_SERIALIZER", DEFAULTS["GEARMAN_SERIALIZER"])
    return serializer, getattr(source, "GEARMAN_MIDDLEWARE", ()) or chains.added


def job_timeout() -> float | None:
    """Return GEARMAN_JOB_TIMEOUT: the time limit of jobs that declare none, in seconds, or None."""
    seconds = _read("GEARMAN_JOB_TIMEOUT")
    try:
        return None if seconds is None else check_seconds(seconds, "GEARMAN_JOB_TIMEOUT")
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(str(error)) from None


def submit_on_commit() -> bool | str:
    """Return GEARMAN_SUBMIT_ON_COMMIT: the default of `on_commit` for background jobs."""
    value: object = _read("GEARMAN_SUBMIT_ON_COMMIT")
    if not isinstance(value, (bool, str)) or value == "":
        raise ImproperlyConfigured(
            f"GEARMAN_SUBMIT_ON_COMMIT is True, False or a database's alias, not {value!r}"
        )
    return value


def schedule() -> Any:
    """Return GEARMAN_SCHEDULE unchanged; the scheduler of `contrib.store` interprets it."""
    return _read("GEARMAN_SCHEDULE")


def outbox() -> bool | str:
    """Return GEARMAN_OUTBOX: True, the alias of the outbox's database, or False."""
    value: object = _read("GEARMAN_OUTBOX")
    if not isinstance(value, (bool, str)) or value == "":
        raise ImproperlyConfigured(
            f"GEARMAN_OUTBOX is True, False or a database's alias, not {quoted(value)}"
        )
    return value


def on_commit_failure() -> str:
    """Return GEARMAN_ON_COMMIT_FAILURE: "log" or "raise"."""
    value: object = _read("GEARMAN_ON_COMMIT_FAILURE")
    if value not in ON_COMMIT_FAILURE:
        raise ImproperlyConfigured(f"GEARMAN_ON_COMMIT_FAILURE is 'log' or 'raise', not {value!r}")
    return str(value)


def store_all() -> bool:
    """Return GEARMAN_STORE_ALL: True if the store records every job, with its result."""
    value: object = _read("GEARMAN_STORE_ALL")
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"GEARMAN_STORE_ALL is True or False, not {value!r}")
    return value


def result_ttl() -> float | None:
    """Return GEARMAN_RESULT_TTL: how long records of successful jobs are kept, in seconds."""
    return _ttl("GEARMAN_RESULT_TTL")


def failure_ttl() -> float | None:
    """Return GEARMAN_FAILURE_TTL: how long records of failed jobs are kept, in seconds."""
    return _ttl("GEARMAN_FAILURE_TTL")


def _ttl(name: str) -> float | None:
    """Return a number of seconds; None keeps records forever."""
    value: object = _read(name)
    try:
        return None if value is None else check_seconds(value, name)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{error}. None keeps records forever") from None


def send_tracebacks() -> bool | None:
    """
    Return GEARMAN_SEND_TRACEBACKS; None sends them to clients of this project, and with DEBUG to
    all.
    """
    value: object = _read("GEARMAN_SEND_TRACEBACKS")
    if value is not None and not isinstance(value, bool):
        raise ImproperlyConfigured(f"GEARMAN_SEND_TRACEBACKS is True, False or None, not {value!r}")
    return value


def sends_traceback(*, to_own_client: bool) -> bool:
    """Return True if the client of a failed job gets the traceback; never raise."""
    value: object = _read("GEARMAN_SEND_TRACEBACKS")
    return value if isinstance(value, bool) else to_own_client or bool(settings.DEBUG)


def context_provider() -> Callable[[], Any] | None:
    """Return GEARMAN_CONTEXT_PROVIDER, the function that returns a dict for each job, or None."""
    provider: Any = _read("GEARMAN_CONTEXT_PROVIDER")
    if isinstance(provider, str):
        try:
            provider = import_string(provider)
        except ImportError as error:
            raise ImproperlyConfigured(f"GEARMAN_CONTEXT_PROVIDER: {error}") from error
    if provider is not None and not callable(provider):
        raise ImproperlyConfigured(
            "GEARMAN_CONTEXT_PROVIDER is a function without arguments, or its dotted "
            f"path, not {provider!r}"
        )
    found: Callable[[], Any] | None = provider
    return found


def submission_context() -> dict[str, Any]:
    """
    Return the dict of GEARMAN_CONTEXT_PROVIDER for a job that is submitted now; {} if it is not
    set.
    """
    provider = context_provider()
    if provider is None:
        return {}
    context = provider()
    if not isinstance(context, Mapping) or not all(isinstance(key, str) for key in context):
        raise ImproperlyConfigured(
            "GEARMAN_CONTEXT_PROVIDER returns a dict with names as keys, not "
            f"{repr_of(context, 200)}"
        )
    return dict(context)


def middleware() -> chains.Chain:
    """Return the middleware of GEARMAN_MIDDLEWARE and of integrations, created at its first use."""
    return chains.chain_of(_read("GEARMAN_MIDDLEWARE"))


def otel_parent() -> bool:
    """Return GEARMAN_OTEL_PARENT: True if each run is a child of its submission's span."""
    value: object = _read("GEARMAN_OTEL_PARENT")
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"GEARMAN_OTEL_PARENT is True or False, not {quoted(value)}")
    return value


def function_name(job_name: str) -> str:
    """Return the function name of a job on the job server, as GEARMAN_JOB_NAME converts it."""
    setting = _read("GEARMAN_JOB_NAME")
    if setting is None:
        return job_name
    namer = _job_namer(setting)
    try:
        return check_name(namer(job_name), "function name")
    except Exception as error:  # a callable of the project may raise any exception
        raise ImproperlyConfigured(f"GEARMAN_JOB_NAME, given {job_name!r}: {error!r}") from error


def _job_namer(setting: object) -> Callable[[str], object]:
    if isinstance(setting, str) and "{" in setting:
        if "{name}" not in setting:
            raise ImproperlyConfigured(
                f"GEARMAN_JOB_NAME: {setting!r} is not a pattern like 'prefix.{{name}}'"
            )
        return partial(setting.replace, "{name}")
    if isinstance(setting, str):
        try:
            setting = import_string(setting)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"GEARMAN_JOB_NAME: {setting!r} is neither a dotted path ({error}) nor a pattern like "
                "'prefix.{name}'"
            ) from error
    if not callable(setting):
        raise ImproperlyConfigured(
            f"GEARMAN_JOB_NAME must be a callable, its dotted path or 'prefix.{{name}}', not {setting!r}"
        )
    return setting


def serializer() -> object:
    """Return GEARMAN_SERIALIZER unchanged; `serializers.get_serializer` interprets it."""
    return _read("GEARMAN_SERIALIZER")


def external_jobs() -> Iterable[str]:
    """Return GEARMAN_EXTERNAL_JOBS, the patterns of jobs that other programs serve."""
    patterns: Any = _read("GEARMAN_EXTERNAL_JOBS")
    if not isinstance(patterns, (list, tuple, set, frozenset)) or not all(
        isinstance(pattern, str) for pattern in patterns
    ):
        raise ImproperlyConfigured(
            "GEARMAN_EXTERNAL_JOBS must be a list of patterns like 'php.*' ('*' for any name), "
            f"not {patterns!r}"
        )
    return patterns


def is_external(job_name: str) -> bool:
    """Return True if GEARMAN_EXTERNAL_JOBS lists this job as one of another program."""
    return any(fnmatch.fnmatchcase(job_name, each) for each in external_jobs())


def workers() -> Sequence[str] | None:
    """Return GEARMAN_WORKERS, the arguments of each `gearman_worker` of the deployment, or None."""
    value: object = _read("GEARMAN_WORKERS")
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(line, str) for line in value):
        raise ImproperlyConfigured(
            f"GEARMAN_WORKERS must be a list of arguments like ['-w 5 -q mail'], not {value!r}"
        )
    return value

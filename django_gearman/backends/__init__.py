"""The backends: one for each thread, process and set of settings."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.module_loading import import_string

from .. import conf, environment
from ..environment import Environment
from ..exceptions import InvalidBackend
from ..protocol.address import ServerAddress
from .base import BaseBackend

#: The short names of GEARMAN_BACKEND.
BUILT_IN = {
    "gearman": "django_gearman.backends.gearmand.GearmandBackend",
    "python-gearman": "django_gearman.backends.python_gearman.PythonGearmanBackend",
    "memory": "django_gearman.backends.memory.MemoryBackend",
    "eager": "django_gearman.backends.eager.EagerBackend",
}

#: Those backends whose job server is in this process.
LOCAL = ("memory", "eager")

_KEPT = 8
_Settings = tuple[Any, Any, Any]


class _ThreadState(threading.local):
    def __init__(self) -> None:
        self.backends: list[tuple[Environment, _Settings, BaseBackend]] = []


_state = _ThreadState()


def backend_settings(servers: object = None) -> tuple[Any, Any, Any]:
    """
    Return GEARMAN_BACKEND, GEARMAN_SERVERS and GEARMAN_OPTIONS; a test may replace them.

    `servers` replaces GEARMAN_SERVERS.
    """
    backend, configured, options = conf.JobSettings().transport
    return environment.current().settings(
        backend, configured if servers is None else servers, options
    )


def parse_servers(value: object, *, source: str = "GEARMAN_SERVERS") -> tuple[ServerAddress, ...]:
    """Parse a list of addresses; raise InvalidBackend, with the wrong element."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise InvalidBackend(
            f"{source} must be a list of servers, like ['127.0.0.1:4730'], not {value!r}"
        )
    if not value:
        raise InvalidBackend(f"{source} is empty; name at least one server: ['127.0.0.1:4730']")
    try:
        return tuple(dict.fromkeys(ServerAddress.parse(element) for element in value))
    except (TypeError, ValueError) as error:
        raise InvalidBackend(f"{source}: {error}") from error


def get_backend(
    servers: Sequence[Any] | None = None,
    settings: _Settings | None = None,
    current: Environment | None = None,
) -> BaseBackend:
    """
    Return this thread's backend for the settings; `servers` replaces GEARMAN_SERVERS.

    `settings` are those of the transport, and `current` is the environment, if the caller has
    them already. Raises InvalidBackend for wrong settings.
    """
    current = current or environment.current()
    path, configured, options = settings or conf.JobSettings().transport
    chosen = configured if servers is None else servers
    wanted = current.settings(path, chosen, options)
    for made_under, made_for, backend in _state.backends:
        if made_under is current and made_for == wanted:
            return backend
    source = "GEARMAN_SERVERS" if servers is None else "host_list"
    backend = _make(wanted[1], source)
    # A copy, because the project may change its lists in place. Few, because settings may change often.
    made = (current, copy.deepcopy(wanted), backend)
    _state.backends = [*_state.backends[-_KEPT + 1 :], made]
    return backend


def use_backend(servers: Sequence[Any] | None = None) -> BaseBackend:
    """Return the backend to use now: this thread's, or its replacement in a test."""
    backend: BaseBackend = environment.current().transport(get_backend(servers))
    return backend


def close_backends(made_under: Environment | None = None) -> None:
    """Close this thread's connections to job servers, before a fork or after a test."""
    closing = [made for made in _state.backends if made_under in (None, made[0])]
    _state.backends = [made for made in _state.backends if made not in closing]
    for *_, backend in closing:
        backend.close()


def get_backend_class() -> type[BaseBackend]:
    """Return the class that GEARMAN_BACKEND names; raise InvalidBackend if there is none."""
    path, _, _ = backend_settings()
    known = ", ".join(map(repr, BUILT_IN))
    if not isinstance(path, str) or (path not in BUILT_IN and "." not in path):
        raise InvalidBackend(f"GEARMAN_BACKEND is {path!r}; it must be {known}, or a dotted path")
    try:
        backend_class = import_string(BUILT_IN.get(path, path))
    except ImportError as error:
        if path == "python-gearman" and error.name == "gearman":
            raise InvalidBackend(
                "GEARMAN_BACKEND is 'python-gearman', which needs the bindings: "
                "pip install django-gearman[python-gearman]"
            ) from error
        raise InvalidBackend(f"GEARMAN_BACKEND is {path!r}, but: {error}") from error
    if not (isinstance(backend_class, type) and issubclass(backend_class, BaseBackend)):
        raise InvalidBackend(
            f"GEARMAN_BACKEND is {path!r}, which is not a subclass of "
            "django_gearman.backends.base.BaseBackend"
        )
    return backend_class


def _options() -> Mapping[str, Any]:
    """Return GEARMAN_OPTIONS if the backend accepts them all."""
    path, _, options = backend_settings()
    if not isinstance(options, Mapping):
        raise InvalidBackend(f"GEARMAN_OPTIONS must be a dict, not {options!r}")
    parameters = inspect.signature(get_backend_class()).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return options
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InvalidBackend(
            f"GEARMAN_OPTIONS has {', '.join(map(repr, unknown))}, which the backend {path!r} does "
            f"not take; it takes {', '.join(map(repr, known)) or 'none'}"
        )
    return options


def check_backend() -> None:
    """Make a backend to validate the settings; raise InvalidBackend. This opens no connection."""
    _, servers, _ = backend_settings()
    _make(servers, "GEARMAN_SERVERS")


def _make(servers: object, source: str) -> BaseBackend:
    """Make a backend; raise InvalidBackend for wrong settings, TLS certificates included."""
    addresses = parse_servers(servers, source=source)
    backend = get_backend_class()(addresses, **_options())
    if not backend.local:
        try:
            for address in addresses:
                if address.tls is not None:
                    address.tls_context()
        except ValueError as error:
            raise InvalidBackend(f"{source}: {error}") from error
    return backend

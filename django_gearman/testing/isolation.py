"""Keep tests away from real job servers, and know which the project has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings

from .. import conf
from ..backends import BUILT_IN, get_backend_class
from ..exceptions import InvalidBackend, ServerUnavailable
from ..instrumentation import Instrumentation, instrumented

_LOCAL = ("eager", "memory")
_SWAPPED = ("GEARMAN_BACKEND", "GEARMAN_OPTIONS")


class JobServerForbidden(ServerUnavailable, AssertionError):
    """A test tried to reach a real job server without having asked for one; nothing was sent."""


class _Project:
    """The transport that the project's settings name, kept while tests have it replaced."""

    backend: Any = None
    options: Any = None


_project = _Project()


def replace_real_backend() -> Callable[[], None]:
    """
    Set GEARMAN_BACKEND to "eager" if it names real job servers; return how to undo that.

    As Django does with EMAIL_BACKEND: in the settings themselves, so that a test can override it.
    """
    with instrumented(Instrumentation()):  # what the settings say, and not the test
        backend, _, options = conf.backend_settings()
        if not _is_real(backend):
            return lambda: None
    _project.backend, _project.options = backend, options
    before = {name: getattr(settings, name) for name in _SWAPPED if hasattr(settings, name)}
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "eager", {}

    def restore() -> None:
        for name in _SWAPPED:
            if name in before:
                setattr(settings, name, before[name])
            else:
                delattr(settings, name)
        _project.backend = _project.options = None

    return restore


def real_transport() -> tuple[Any, Any]:
    """Return the project's own GEARMAN_BACKEND and GEARMAN_OPTIONS, or the default for real servers."""
    if _project.backend is not None:
        return _project.backend, _project.options
    with instrumented(Instrumentation()):
        backend, _, options = conf.backend_settings()
        return (backend, options) if _is_real(backend) else ("gearman", {})


def _is_real(backend: object) -> bool:
    if backend in _LOCAL or backend in BUILT_IN:
        return backend not in _LOCAL
    try:
        return not get_backend_class().local
    except InvalidBackend:
        return False  # whoever uses it is told

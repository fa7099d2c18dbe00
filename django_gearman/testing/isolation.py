"""Keep tests away from real job servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings

from .. import conf
from ..backends import BUILT_IN, get_backend_class
from ..backends.base import BaseBackend
from ..backends.memory import forget_servers
from ..exceptions import InvalidBackend, ServerUnavailable
from ..instrumentation import Instrumentation

_LOCAL = ("eager", "memory")
_SWAPPED = ("GEARMAN_BACKEND", "GEARMAN_OPTIONS")


class JobServerForbidden(ServerUnavailable, AssertionError):
    """A test tried to reach a real job server without having asked for one; nothing was sent."""


class Isolation(Instrumentation):
    """What every test runs under: with job servers of its own, and no real one."""

    def __init__(self) -> None:
        forget_servers()

    def admit(self, backend: BaseBackend) -> None:
        if not backend.local:
            raise JobServerForbidden(
                "no job server is reached from this test, whatever GEARMAN_SERVERS says, because it "
                "has not asked for one. It asks for a private gearmand by the fixture gearman_server, "
                "@pytest.mark.gearman('real') or the option --gearman=real; for a server of your own "
                "by override_gearman('gearman', servers=[...])"
            )


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
    backend, _, options = conf.backend_settings()
    return (backend, options) if _is_real(backend) else ("gearman", {})


def _is_real(backend: object) -> bool:
    if backend in _LOCAL or backend in BUILT_IN:
        return backend not in _LOCAL
    try:
        return not get_backend_class().local
    except InvalidBackend:
        return False  # whoever uses it is told

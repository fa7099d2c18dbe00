"""Isolation of tests from real job servers, and a record of the project's own ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core import mail
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ..backends import BUILT_IN, LOCAL, backend_settings
from ..backends.base import BaseBackend
from ..environment import PRODUCTION, Environment, replaced, set_initial
from ..exceptions import ServerUnavailable

_SWAPPED = ("GEARMAN_BACKEND", "GEARMAN_OPTIONS")


class JobServerForbidden(ServerUnavailable, AssertionError):
    """
    The error of a test that tried to reach a real job server without asking for one; nothing was
    sent.
    """


def forbid(backend: BaseBackend) -> None:
    """Raise JobServerForbidden for real job servers."""
    if not backend.local:
        raise JobServerForbidden(
            "no job server is reached from this test, whatever GEARMAN_SERVERS says, because it "
            "has not asked for one. It asks for a private job server by the fixture gearman_server, "
            "@pytest.mark.gearman('real'), the option --gearman=real or override_gearman('real'); "
            "for a server of your own by override_gearman('gearman', servers=[...])"
        )


class _Project:
    """The transport of the project's settings, kept while tests have replaced it."""

    backend: Any = None
    options: Any = None


_project = _Project()


def replace_real_backend() -> Callable[[], None]:
    """
    Set GEARMAN_BACKEND to "eager" if it names real job servers; return a function that undoes this.

    Like Django with EMAIL_BACKEND, it changes the settings themselves, so that a test can override
    it.
    """
    with replaced(Environment()):  # the project's value, not the test's
        backend, _, options = backend_settings()
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
    with replaced(Environment()):
        backend, _, options = backend_settings()
        return (backend, options) if _is_real(backend) else ("gearman", {})


def _is_real(backend: object) -> bool:
    if backend in LOCAL or backend in BUILT_IN:
        return backend not in LOCAL
    try:
        return not import_string(str(backend)).local
    except (ImportError, AttributeError):
        return False  # its users get the error


# Under Django's test runner


class UnittestRun(Environment):
    """The defaults for tests of Django's test runner that ask for nothing."""

    workers_are_here = True

    def settings(self, backend: Any, servers: Any, options: Any) -> tuple[Any, Any, Any]:
        return isolated(backend, servers, options)

    def transport(self, backend: BaseBackend, requests: object = None) -> BaseBackend:
        forbid(backend)
        return backend


class _Overrides:
    """
    The number of tests and blocks that override GEARMAN_BACKEND: their value is respected.

    Django sends no signal when a test deletes or assigns the setting. Then its value differs from
    the project's `initial` one.
    """

    depth = 0
    initial: Any = None


def isolated(backend: Any, servers: Any, options: Any) -> tuple[Any, Any, Any]:
    """Return these settings; in a test run, "eager" in place of the project's job servers."""
    is_projects = _Overrides.depth == 0 and backend == _Overrides.initial
    if is_projects and _is_real(backend) and is_test_run():
        return "eager", servers, {}
    return backend, servers, options


def is_test_run() -> bool:
    """Return True while Django's `setup_test_environment` is active, as in its test runner."""
    utils: Any = sys.modules.get("django.test.utils")
    if utils is None:
        return False
    state = getattr(utils, "_TestState", None)
    if state is not None:
        return hasattr(state, "saved_data")
    # Its documented effect, in case Django stores that state elsewhere one day.
    return hasattr(mail, "outbox") and "testserver" in settings.ALLOWED_HOSTS


def isolate_test_runs() -> None:
    """Isolate test cases from the project's job servers as soon as Django's test runner runs."""
    run, modules = UnittestRun(), sys.modules

    def provide() -> Environment:
        # This runs several times for each job, and production has not loaded that module.
        return run if "django.test.utils" in modules and is_test_run() else PRODUCTION

    if _Overrides.initial is None:  # a test that changes INSTALLED_APPS makes all apps ready again
        _Overrides.initial, _, _ = backend_settings()
    setting_changed.connect(_note_override, dispatch_uid="django_gearman.testing")
    set_initial(provide)


def _note_override(*, setting: str, enter: bool, **_: Any) -> None:
    if setting == "GEARMAN_BACKEND":
        _Overrides.depth += 1 if enter else -1

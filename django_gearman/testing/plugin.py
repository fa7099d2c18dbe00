"""
The pytest plugin. Every session of whoever installs the package imports this module, so it imports
no Django, and nothing of ours that does, until a test needs it.

Each test of a project that has the app runs isolated from real job servers. One that asks for more,
by a fixture, the marker or an option, has a `Harness`, from before its first fixture to after its
last.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .client import ManualWorker, RecordingClient
    from .harness import Harness
    from .server import GearmanServer

TRANSPORTS = ("eager", "memory", "real")
_FIXTURES = {"gearman_client", "gearman_worker", "gearman_server"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gearman", "django-gearman")
    group.addoption(
        "--gearman",
        choices=TRANSPORTS,
        help="run tests on this transport, but for those whose marker or fixture names another one",
    )
    group.addoption(
        "--gearman-required",
        action="store_true",
        help="fail, instead of skipping, the tests that need a gearmand which is not installed",
    )
    parser.addini(
        "gearman_strict",
        "fail tests that leave jobs queued, or failures that nobody looked at",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "gearman(transport=None, strict=False, raise_failures=True): run the test's jobs on 'eager' "
        "(at once), 'memory' (when gearman_worker.run() is called) or 'real' (a private gearmand); "
        "fail it if it leaves jobs queued, or failures that nobody looked at; have what jobs raise "
        "reach it",
    )
    pytest.register_assert_rewrite("django_gearman.testing.contract")
    config.stash[_SESSION] = _Session(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (session := config.stash.get(_SESSION, None)) is not None:
        session.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _is_django_ready() or _asks(item):
        _test_of(item).begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    outcome = yield
    if _TEST in item.stash:
        item.stash[_TEST].check_strict()
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    finally:
        if _TEST in item.stash:
            item.stash[_TEST].close()
            del item.stash[_TEST]


@pytest.fixture
def gearman_client(request: pytest.FixtureRequest) -> RecordingClient:
    """A client whose jobs run at once, and which knows every job that anybody submits in this test."""
    harness = _test_of(request.node).harness("eager")
    from .client import RecordingClient

    return RecordingClient(harness)


@pytest.fixture
def gearman_worker(request: pytest.FixtureRequest) -> ManualWorker:
    """A worker that runs what is queued when the test says so."""
    harness = _test_of(request.node).harness()
    from .client import ManualWorker

    return ManualWorker(harness)


@pytest.fixture
def gearman_server(request: pytest.FixtureRequest) -> GearmanServer:
    """A private gearmand, which is where the jobs of this test go."""
    return _test_of(request.node).real_server()


class _Session:
    """What the tests of a session share."""

    def __init__(self, config: pytest.Config) -> None:
        self.transport: str | None = config.getoption("--gearman")
        self.strict: bool = config.getini("gearman_strict")
        self._required: bool = config.getoption("--gearman-required")
        self._restore: Callable[[], None] | None = None
        self._server: GearmanServer | None = None

    def isolate(self) -> None:
        """Once Django is set up, take real job servers out of the settings."""
        if self._restore is None:
            from .isolation import replace_real_backend

            self._restore = replace_real_backend()

    def server(self) -> GearmanServer:
        """Return the private gearmand, running and empty."""
        from .server import GearmandNotInstalled, GearmanServer

        if self._server is not None:
            self._server.reset()
            return self._server
        try:
            self._server = GearmanServer()
        except GearmandNotInstalled as error:
            if self._required:
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
        return self._server

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
        if self._restore is not None:
            self._restore()


class _Test:
    """One test: what it asks for, and what is in force for it."""

    def __init__(self, item: pytest.Item, session: _Session) -> None:
        self._item = item
        self._session = session
        self._in_force = ExitStack()
        self._harness: Harness | None = None
        self._server: GearmanServer | None = None
        self._transport = session.transport
        self._strict = session.strict
        self._raise_failures: bool | None = None

    def begin(self) -> None:
        """Put in force what the test asks for, or isolation; nothing where Django is not set up."""
        fixtures = _fixtures(self._item)
        marked = _read_markers(self._item)
        self._transport = marked.get("transport") or self._transport
        self._strict = marked.get("strict", self._strict)
        self._raise_failures = marked.get("raise_failures")
        if not _is_django_ready():
            return
        self._session.isolate()
        if "gearman_server" in fixtures:
            self.real_server()
        elif "gearman_client" in fixtures:
            self.harness("eager")
        elif fixtures or marked or self._transport or self._strict:
            self.harness()
        elif _has_app():
            from ..instrumentation import instrumented
            from .isolation import Isolation

            self._in_force.enter_context(instrumented(Isolation()))

    def harness(self, default: str | None = None) -> Harness:
        """
        Return the test's harness; put it in force if it is not.

        That is so when Django was set up late, or a fixture is asked for in the test. The transport
        is `default` unless something else says which.
        """
        if self._harness is None:
            if not _is_django_ready():
                pytest.fail(
                    "this test needs Django: set DJANGO_SETTINGS_MODULE for pytest-django, or call "
                    "django.conf.settings.configure() and django.setup() in conftest.py",
                    pytrace=False,
                )
            self._session.isolate()
            from .harness import harness

            self._harness = self._in_force.enter_context(
                harness(raise_failures=self._raise_failures)
            )
            if self._transport is not None:
                self._use(self._transport)
        if self._transport is None and default is not None:
            self._use(default)
        return self._harness

    def _use(self, transport: str) -> None:
        """Have the test's jobs go by this transport from now on."""
        assert self._harness is not None
        self._transport, servers = transport, None
        if transport == "real":
            self._server = self._session.server()
            servers = [self._server.address]
        self._in_force.enter_context(self._harness.using(transport, servers))

    def real_server(self) -> GearmanServer:
        """Return the private gearmand, which is where the test's jobs go from now on."""
        self.harness()
        if self._server is None:
            self._use("real")
        assert self._server is not None
        return self._server

    def check_strict(self) -> None:
        if self._strict and self._harness is not None:
            from .strict import complaint

            if told := complaint(self._harness):
                pytest.fail(told, pytrace=False)

    def close(self) -> None:
        self._in_force.close()


_SESSION = pytest.StashKey[_Session]()
_TEST = pytest.StashKey[_Test]()


def _test_of(item: pytest.Item) -> _Test:
    if _TEST not in item.stash:
        item.stash[_TEST] = _Test(item, item.config.stash[_SESSION])
    return item.stash[_TEST]


def _fixtures(item: pytest.Item) -> set[str]:
    return _FIXTURES.intersection(getattr(item, "fixturenames", ()))


def _asks(item: pytest.Item) -> bool:
    return bool(_fixtures(item)) or item.get_closest_marker("gearman") is not None


def _is_django_ready() -> bool:
    apps = sys.modules.get("django.apps")
    return apps is not None and bool(apps.apps.ready)


def _has_app() -> bool:
    return bool(sys.modules["django.apps"].apps.is_installed("django_gearman"))


def _read_markers(item: pytest.Item) -> dict[str, Any]:
    """Return what the test's markers say, the nearest first."""
    told: dict[str, Any] = {}
    for marker in item.iter_markers("gearman"):
        arguments = dict(zip(("transport",), marker.args, strict=False)) | dict(marker.kwargs)
        unknown = arguments.keys() - {"transport", "strict", "raise_failures"}
        if unknown or len(marker.args) > 1 or arguments.get("transport") not in (None, *TRANSPORTS):
            pytest.fail(
                f"{marker}: write gearman('eager' | 'memory' | 'real', strict=..., raise_failures=...)",
                pytrace=False,
            )
        told = arguments | told
    return told

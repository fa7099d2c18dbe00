"""
The pytest plugin.

Every pytest session of a project that installs the package imports this module. So, until a test
uses the library, it imports neither Django nor a module of this package that imports Django.

During the session, the library uses the `Harness` of the running test. It is created at the first
use. It is quiet until the test asks for something: by a fixture, the marker or an option.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from ..environment import Environment, replaced
from .programs import GearmandNotInstalled, choose_program, find_gearmand

if TYPE_CHECKING:
    from .client import ManualWorker, RecordingClient
    from .gearmand import GearmanServer
    from .harness import Harness

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
        help="fail the tests that need a job server if gearmand is not installed, where they would run "
        "on the included server",
    )
    parser.addini(
        "gearman_strict",
        "fail tests that leave jobs queued, or failures that the test did not look at",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "gearman(transport=None, strict=False, raise_failures=True): run the test's jobs on 'eager' "
        "(at once), 'memory' (when gearman_worker.run() is called) or 'real' (a private job server); "
        "fail it if it leaves jobs queued, or failures that it did not look at; let the exceptions of "
        "jobs reach it",
    )
    pytest.register_assert_rewrite("django_gearman.testing.contract")
    config.stash[_SESSION] = _Session(config)


def pytest_report_header(config: pytest.Config) -> str:
    try:
        return f"gearman: real job servers are {choose_program()}"
    except RuntimeError as error:
        return f"gearman: {error}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_SESSION].stop_server()  # not later: pytest-xdist may end the process


def pytest_unconfigure(config: pytest.Config) -> None:
    if (session := config.stash.get(_SESSION, None)) is not None:
        session.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[_SESSION].begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    outcome = yield
    item.config.stash[_SESSION].test.check_strict()
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    finally:
        item.config.stash[_SESSION].end()


@pytest.fixture
def gearman_client(request: pytest.FixtureRequest) -> RecordingClient:
    """A client whose jobs run at once, and which knows every job submitted in this test."""
    harness = _test_of(request).asked_harness("eager")
    from .client import RecordingClient

    return RecordingClient(harness)


@pytest.fixture
def gearman_worker(request: pytest.FixtureRequest) -> ManualWorker:
    """A worker that runs the queued jobs when the test calls it."""
    harness = _test_of(request).asked_harness()
    from .client import ManualWorker

    return ManualWorker(harness)


@pytest.fixture
def gearman_server(request: pytest.FixtureRequest) -> GearmanServer:
    """A private job server for the jobs of this test."""
    return _test_of(request).real_server()


class _Session:
    """State that the tests of a session share."""

    def __init__(self, config: pytest.Config) -> None:
        self.transport: str | None = config.getoption("--gearman")
        self.strict: bool = config.getini("gearman_strict")
        self.test = _Test(self)  # for code outside of tests, for example collection
        self._required: bool = config.getoption("--gearman-required")
        self._restore: Callable[[], None] | None = None
        self._server: GearmanServer | None = None
        self._in_force = ExitStack()
        self._in_force.enter_context(replaced(self._environment))

    def _environment(self) -> Environment:
        return self.test.harness()

    def begin(self, item: pytest.Item) -> None:
        self.test.close()
        self.test = _Test(self)
        self.test.begin(item)

    def end(self) -> None:
        self.test.close()
        self.test = _Test(self)

    def isolate(self) -> None:
        """Replace real job servers in the settings, once Django is set up."""
        if self._restore is None and _is_configured():
            self._restore = lambda: None  # it needs the settings, too
            from .isolation import replace_real_backend

            self._restore = replace_real_backend()

    def server(self) -> GearmanServer:
        """Return the private job server, running and empty."""
        from .gearmand import GearmanServer

        if self._server is not None:
            self._server.reset()
            return self._server
        if self._required:
            try:
                find_gearmand()
            except GearmandNotInstalled as error:
                pytest.fail(str(error), pytrace=False)
        self._server = GearmanServer()
        return self._server

    def stop_server(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server = None

    def close(self) -> None:
        self.test.close()
        self.stop_server()
        if self._restore is not None:
            self._restore()
        self._in_force.close()


class _Test:
    """One test, with its options and its harness."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._in_force = ExitStack()
        self._harness: Harness | None = None
        self._server: GearmanServer | None = None
        self._transport = session.transport
        self._strict = session.strict
        self._asks = False
        self._raise_failures: bool | None = None
        self._lock = threading.RLock()  # several threads may be the first to use the library

    def begin(self, item: pytest.Item) -> None:
        """Parse the test's options; they apply when the library is first used."""
        marked = _parse_markers(item)
        fixtures = _FIXTURES.intersection(getattr(item, "fixturenames", ()))
        self._transport = marked.get("transport") or self._transport
        self._strict = marked.get("strict", self._strict)
        self._raise_failures = marked.get("raise_failures")
        if self._transport is None and "gearman_client" in fixtures:
            self._transport = "eager"
        if "gearman_server" in fixtures:
            self._transport = "real"
        self._asks = bool(fixtures or marked or self._transport or self._strict)
        if "gearman_server" in fixtures or marked.get("transport") == "real":
            self._server = self._session.server()
        if _has_app():
            self._session.isolate()

    def harness(self) -> Harness:
        """Return the test's harness, which is created when the library is first used."""
        if self._harness is not None:
            return self._harness
        with self._lock:
            if self._harness is None:
                self._session.isolate()
                from ..backends.memory import forget_servers
                from .harness import Harness

                forget_servers()
                self._harness = Harness()
                self._in_force.callback(self._harness.end)
                if self._asks:
                    self._use(self._transport)
            return self._harness

    def asked_harness(self, default: str | None = None) -> Harness:
        """
        Return the harness of a test that asks for one; `default` is its transport if it names none.
        """
        _set_up_django()
        harness = self.harness()
        if self._transport is None or harness.is_quiet:
            self._use(self._transport or default)
        return harness

    def _use(self, transport: str | None) -> None:
        """Use this transport for the test's jobs from now on."""
        self._transport = transport
        servers = self._addresses if transport == "real" else None
        using = self.harness().using(transport, servers, raise_failures=self._raise_failures)
        self._in_force.enter_context(using)

    def _addresses(self) -> list[str]:
        if self._server is None:
            self._server = self._session.server()
        return [self._server.address]

    def real_server(self) -> GearmanServer:
        """Return the private job server, and use it for the test's jobs from now on."""
        if self._server is None:
            self._server = self._session.server()
        self.asked_harness("real")
        if self._transport != "real":
            self._use("real")
        return self._server

    def check_strict(self) -> None:
        if self._strict and self._harness is not None:
            from .strict import leftovers

            if message := leftovers(self._harness):
                pytest.fail(message, pytrace=False)

    def close(self) -> None:
        self._in_force.close()


_SESSION = pytest.StashKey[_Session]()


def _test_of(request: pytest.FixtureRequest) -> _Test:
    return request.config.stash[_SESSION].test


def _is_configured() -> bool:
    conf = sys.modules.get("django.conf")
    return bool(os.environ.get("DJANGO_SETTINGS_MODULE")) or (
        conf is not None and bool(conf.settings.configured)
    )


def _has_app() -> bool:
    apps = sys.modules.get("django.apps")
    return apps is not None and apps.apps.ready and apps.apps.is_installed("django_gearman")


def _set_up_django() -> None:
    """Set Django up, unless other code has done so, as without pytest-django."""
    if not _is_configured():
        pytest.fail(
            "this test needs Django: set DJANGO_SETTINGS_MODULE, or call "
            "django.conf.settings.configure() in conftest.py",
            pytrace=False,
        )
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()


def _parse_markers(item: pytest.Item) -> dict[str, Any]:
    """Return the options of the test's markers; the nearest marker wins."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("gearman"):
        arguments = dict(zip(("transport",), marker.args, strict=False)) | dict(marker.kwargs)
        if len(marker.args) > 1 or not _is_meant(arguments):
            pytest.fail(
                f"@pytest.mark.gearman with {arguments}: write gearman('eager' | 'memory' | 'real', "
                "strict=..., raise_failures=...)",
                pytrace=False,
            )
        options = arguments | options
    return options


def _is_meant(arguments: dict[str, Any]) -> bool:
    known = {
        "transport": (None, *TRANSPORTS),
        "strict": (True, False),
        "raise_failures": (True, False),
    }
    return all(name in known and value in known[name] for name, value in arguments.items())

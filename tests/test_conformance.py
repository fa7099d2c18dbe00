"""
The promises of the original README, each run on each transport.

The cases are those of conformance.json; `tests.support.conformance` says what each should come to.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING, Any

import pytest

from django_gearman import GearmanClient, GearmanWorker, JobRequest, conf
from django_gearman.backends import close_backends, get_backend
from django_gearman.jobs.registry import registry
from django_gearman.testing.gearmand import free_port
from django_gearman.testing.programs import included_server
from tests.support.conformance import (
    CASES,
    EXEMPT,
    EXEMPT_ON,
    RUNS,
    TABLES,
    TRANSPORTS,
    Anything,
    Case,
    Received,
    Want,
    look_up,
    wanted,
)
from tests.support.gearmand import Gearmand, wait_until

if TYPE_CHECKING:
    from pytest_django import Settings

#: Seconds after which a call that waits without limit is given up, so that it fails and not hangs.
PATIENCE = 60.0

#: What stands above a case's jobs: what they use, and a decorator that notes what they receive.
PRELUDE = """
import datetime, functools, sys, time
from decimal import Decimal
from django_gearman.decorators import gearman_job

received = []

def recorded(func):
    @functools.wraps(func)
    def record(*args, **kwargs):
        received.append((func.__name__, list(args), kwargs))
        return func(*args, **kwargs)
    return record
"""


@dataclass(frozen=True)
class Got:
    """The outcome of a case."""

    value: object = None
    error: Exception | None = None
    received: Sequence[Received] = ()


def patiently(submit_call: Callable[..., JobRequest]) -> Callable[..., JobRequest]:
    """Give up in the end, so that a test fails instead of hanging."""

    def submit(*args: Any, **options: Any) -> JobRequest:
        if options.get("wait") is None:
            options["wait"] = PATIENCE
        return submit_call(*args, **options)

    return submit


class Stage:
    """A Django project with the jobs and the settings of one case, a transport, and workers."""

    def __init__(
        self,
        case: Case,
        transport: str,
        server: Gearmand | None,
        directory: Path,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.want = wanted(case, transport)
        self.workers: list[tuple[GearmanWorker, threading.Thread]] = []
        self._case = case
        self._transport = transport
        self._server = server
        self._directory = directory
        self._settings = settings
        self._monkeypatch = monkeypatch
        self._files = case.files or {"capp/gearman_jobs.py": case.job}
        self._served: list[str] = []

    def play(self) -> Got:
        """Start Django and the workers, make the call, and wait until its jobs have run."""
        value: object = None
        error: Exception | None = None
        try:
            self._start_django()
            if self._case.flow == "client-first":
                value = self._call()
                close_backends()  # the client is gone
                self._start_workers()
            else:
                self._start_workers()
                value = self._call()
        except Exception as raised:
            error = raised
        wait_until(self._is_idle, "the workers have run every job")
        return Got(value, error, self._received())

    def _start_django(self) -> None:
        for path, source in self._files.items():
            self._write(Path(path), source)
        self._monkeypatch.syspath_prepend(self._directory)
        for name, value in self._configuration().items():
            setattr(self._settings, name, value)
        self._settings.INSTALLED_APPS = list(self._case.apps)

    def _write(self, path: Path, source: str) -> None:
        (self._directory / path.parent).mkdir(parents=True, exist_ok=True)
        for package in path.parents[:-1]:
            (self._directory / package / "__init__.py").touch()
        if path.name == "gearman_jobs.py":
            seconds = 0.01 if self._transport == "eager" else 0.3  # nobody meets an eager job
            source = source.replace("time.sleep(1.0)", f"time.sleep({seconds})")
            source = PRELUDE + re.sub(r"(?m)^def ", "@recorded\ndef ", source)
        (self._directory / path).write_text(source)

    def _configuration(self) -> dict[str, Any]:
        own = uuid.uuid4().hex
        server = None if self._case.server_down else self._server
        port = server.port if server is not None else free_port()
        self._monkeypatch.setenv("GM_PORT", str(port))
        configuration: dict[str, Any] = {
            "GEARMAN_BACKEND": self._transport,
            "GEARMAN_SERVERS": [f"127.0.0.1:{port}"],
            "GEARMAN_OPTIONS": {},
        }
        if self._transport == "memory":
            limit = 1 if self._case.flow == "no-worker" else None
            configuration["GEARMAN_OPTIONS"] = {"name": own, "max_queued": limit}
        if not self._case.is_about_names:
            configuration["GEARMAN_JOB_NAME"] = f"{own}.{{name}}"
        exec(self._case.settings, {"os": os}, configuration)
        return configuration

    def _start_workers(self) -> None:
        if self._transport == "eager" or not self.want.workers:
            return
        arguments = dict(
            zip(self._case.worker_args[::2], self._case.worker_args[1::2], strict=True)
        )
        queues = [arguments["-q"]] if "-q" in arguments else None
        for _ in range(int(arguments.get("-w", 1))):
            worker = GearmanWorker(queues)
            self._served = [conf.function_name(job.name) for job in worker.jobs]
            thread = threading.Thread(target=worker.work, daemon=True)
            thread.start()
            self.workers.append((worker, thread))
        wait_until(
            lambda: (
                not self.are_workers_alive()
                or all(workers == len(self.workers) for _, workers in self._totals())
            ),
            "the workers have registered",
        )
        assert self.are_workers_alive(), "a worker could not start"

    def _totals(self) -> Iterator[tuple[int, int]]:
        """Yield the number of jobs and of workers of each function that is served."""
        if self._server is not None:
            rows = {name: (row[0], row[2]) for name, row in self._server.totals().items()}
        else:
            rows = {row.function: (row.total, row.workers) for row in get_backend().functions()}
        for function in self._served:
            yield rows.get(function, (0, 0))

    def _call(self) -> object:
        client = GearmanClient()
        submit_call = patiently(GearmanClient.submit_call)
        self._monkeypatch.setattr(GearmanClient, "submit_call", submit_call)
        if self._case.flow == "no-worker":
            self._fill_queue(client)
        if self._case.client_cwd:
            elsewhere = self._directory / self._case.client_cwd
            elsewhere.mkdir()
            self._monkeypatch.chdir(elsewhere)
        if self.want.call is not None:
            return self.want.call(client)
        times_out = any(request.get("timed_out") is True for request in self.want.requests or ())
        return self._case.make_call(client, impatiently=times_out)

    def _fill_queue(self, client: GearmanClient) -> None:
        client.submit_job("my-task-name", "first", background=True)
        if self._server is not None:
            self._server.ask(f"maxqueue {conf.function_name('my-task-name')} 1")

    def _is_idle(self) -> bool:
        return not self._served or not any(jobs for jobs, _ in self._totals())

    def _received(self) -> list[Received]:
        modules = [path.removesuffix(".py").replace("/", ".") for path in self._files]
        lists = [getattr(sys.modules.get(module), "received", []) for module in modules]
        return [one for received in lists for one in received]

    def are_workers_alive(self) -> bool:
        return all(thread.is_alive() for _, thread in self.workers)

    def clear(self) -> None:
        """Stop the workers, close the connections, and forget the modules."""
        for worker, _ in self.workers:
            worker.stop()
        close_backends()
        packages = tuple(Path(path).parts[0] for path in self._files)
        for module in [name for name in sys.modules if name.partition(".")[0] in packages]:
            del sys.modules[module]


@pytest.fixture(scope="module")
def leaving() -> Iterator[list[threading.Thread]]:
    """The threads of stopping workers: waiting for each would take up to a second."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(30)
    assert [thread.name for thread in threads if thread.is_alive()] == []


@pytest.fixture
def only_jobs_of_the_case() -> Iterator[None]:
    others = dict(registry._jobs)
    registry._jobs.clear()
    yield
    registry._jobs.clear()
    registry._jobs.update(others)


@pytest.fixture(scope="module")
def included() -> Iterator[Gearmand]:
    """The included job server, for all cases."""
    with Gearmand(program=included_server()) as server:
        yield server


@pytest.fixture
def own_included() -> Iterator[Gearmand]:
    """The included job server, for one case."""
    with Gearmand(program=included_server()) as server:
        yield server


@pytest.fixture
def set_stage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    leaving: list[threading.Thread],
    only_jobs_of_the_case: None,
) -> Iterator[Callable[[Case, str, str], Stage]]:
    """Return a way to set the stage for a case; one for each test."""
    stages: list[Stage] = []

    def make(case: Case, transport: str, program: str) -> Stage:
        server: Gearmand | None = None
        its_own_call = wanted(case, transport).call is None
        if transport == "python-gearman" or (its_own_call and "import gearman" in case.call):
            pytest.importorskip("gearman", reason="the bindings are not installed")
        if transport in ("gearman", "python-gearman"):
            request.getfixturevalue("production")
            server = request.getfixturevalue(f"own_{program}" if case.is_about_names else program)
        stages.append(Stage(case, transport, server, tmp_path, settings, monkeypatch))
        return stages[-1]

    yield make
    for stage in stages:
        stage.clear()
        leaving.extend(thread for _, thread in stage.workers)


def differences(want: Want, got: Got) -> Iterator[str]:
    """Describe the differences from the expected outcome of a case."""
    if want.raises is not None:
        if not isinstance(got.error, want.raises) or not re.search(want.says, str(got.error)):
            wish = f"{want.raises.__name__} that says {want.says!r}"
            yield f"raised\n  wanted {wish}\n  got    {got.error!r}, and the value {got.value!r}"
    elif got.error is not None:
        yield f"raised\n  wanted nothing\n  got    {got.error!r}"
    elif want.requests is not None:
        requests = got.value if isinstance(got.value, list) else [got.value]
        names = want.requests[0]
        attributes = [{name: look_up(request, name) for name in names} for request in requests]
        yield from _different("requests", list(want.requests), attributes)
    elif want.value is not Anything:
        yield from _different("value", want.value, got.value)
    if want.received is not None:
        yield from _different("received by jobs", list(want.received), list(got.received))


def _different(what: str, wish: object, found: object) -> Iterator[str]:
    # Compared as text, in which 1 is not True and Decimal(0) is not 0.
    wish, found = (pformat(value, width=10_000) for value in (wish, found))
    if wish != found:
        yield f"{what}\n  wanted {wish}\n  got    {found}"


@pytest.mark.parametrize(
    ("case", "transport", "program"),
    [
        *(
            pytest.param(
                case,
                transport,
                "gearmand",
                id=f"{case.id}-{transport}",
                marks=[pytest.mark.gearmand] if "gearman" in transport else [],
            )
            for case, transport in RUNS
        ),
        *(
            pytest.param(case, transport, "included", id=f"{case.id}-included")
            for case, transport in RUNS
            if transport == "gearman"
        ),
    ],
)
def test_each_case_has_the_expected_outcome(
    case: Case, transport: str, program: str, set_stage: Callable[[Case, str, str], Stage]
) -> None:
    # Given
    stage = set_stage(case, transport, program)

    # When
    got = stage.play()

    # Then
    wrong = list(differences(stage.want, got))
    if wrong:
        message = "\n".join(
            [f"{case.id} on {transport}: {case.call}", *wrong, case.want, case.notes]
        )
        raise AssertionError(message) from got.error
    assert stage.are_workers_alive(), f"{case.id} on {transport}: a worker has died"


def test_every_case_is_run_or_exempt() -> None:
    run = {case.id for case, _ in RUNS}
    assert run | set(EXEMPT) == set(CASES)
    assert run & set(EXEMPT) == set()
    assert len(RUNS) == len(run) * len(TRANSPORTS) - len(EXEMPT_ON)


def test_every_run_has_an_expected_outcome() -> None:
    untold = [
        f"{case.id} on {transport}"
        for case, transport in RUNS
        if case.want.startswith("better than both") and case.id not in TABLES[transport]
    ]
    assert untold == []
    assert set().union(*TABLES.values()) <= set(CASES)

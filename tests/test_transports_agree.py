"""Every pair of options comes to the same on every transport: real gearmand is the reference."""

from __future__ import annotations

import datetime
import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction

from django_gearman import GearmanClient, gearman_job
from django_gearman.backends import close_backends, get_backend
from django_gearman.execution import execute
from django_gearman.registry import registry

pytestmark = [pytest.mark.gearmand, pytest.mark.django_db(transaction=True)]

PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
VALUES: Mapping[str, list[Any]] = {
    "unique": [None, "same", True, "é " * 40],
    "priority": [None, "LOW", "HIGH"],
    "run_after": [None, datetime.timedelta(0), PAST, datetime.timedelta(days=1)],
    "background": [False, True],
    "resubmit": [None, 2],
    "on_commit": [None, True, "default"],
    "retries": [0, 2],
}
WRONG = {
    "unique": 7,
    "priority": "URGENT",
    "run_after": True,
    "background": "yes",
    "resubmit": -1,
    "on_commit": "nowhere",
}
PAIRS = list(itertools.combinations(VALUES, 2))


@dataclass
class Outcome:
    """What has become of some submissions."""

    ran: list[Any] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


@pytest.fixture
def job() -> Iterator[Callable[[int], Any]]:
    """Return a way to declare a job that notes its runs; with retries its first run fails."""
    before = dict(registry._jobs)

    def declare(retries: int) -> Any:
        def note(value: Any) -> Any:
            RAN.append(value)
            if retries and RAN.count(value) == 1:
                raise ValueError(value)
            return value

        return gearman_job(name=f"note-{uuid.uuid4().hex}", retries=retries, backoff=0)(note)

    yield declare
    registry._jobs.clear()
    registry._jobs.update(before)


RAN: list[Any] = []


def outcome(job: Any, options: dict[str, Any], *, at_once: bool) -> Outcome:
    """Submit a job plainly, and twice with the options; run them as they come, or at the end."""
    RAN.clear()
    found = Outcome()
    requests = []
    chosen = {name: options[name] for name in options if name not in ("retries", "background")}
    background = options.get("background", True)
    backend = get_backend()
    worker = None if backend.runs_in_caller else backend.register([job.name])

    def drain() -> None:
        while worker is not None and (assigned := worker.grab_job(0.02)) is not None:
            execute(job, assigned, worker, backend.submit)

    for value, given in (("plain", {}), ("same", chosen), ("same", chosen), ("last", {})):
        try:
            client = GearmanClient().using(**given)
            with transaction.atomic():
                request = client.submit_job(
                    job, value, background=background, wait_until_complete=False
                )
            requests.append(request)
        except Exception as error:
            text = str(error).replace(job.name, "NAME")
            found.errors.append(f"{value}: {type(error).__name__}: {text}")
        if at_once:
            drain()
    drain()
    for request in requests:
        if not request.background:
            request.wait(20)
            failure = type(request.exception).__name__
            found.results.append(failure if request.exception is not None else request.result)
    found.ran = list(RAN)
    if worker is not None:
        worker.close()
    return found


@pytest.fixture
def at(settings, production, gearmand) -> Iterator[Callable[[str], None]]:
    """Return a way to choose a transport."""

    def choose(transport: str) -> None:
        close_backends()
        settings.GEARMAN_BACKEND = transport
        settings.GEARMAN_OPTIONS = {"name": uuid.uuid4().hex} if transport == "memory" else {}
        settings.GEARMAN_SERVERS = [gearmand.address]

    yield choose
    close_backends()


@pytest.fixture
def on(at, job):
    """Return a way to learn what comes of options on a transport."""

    def learn(transport: str, options: dict[str, Any], at_once: bool) -> Outcome:
        at(transport)
        return outcome(job(options.get("retries", 0)), options, at_once=at_once)

    return learn


def compare(on: Any, pair: tuple[str, str], values: tuple[Any, ...], at_once: bool) -> str:
    """Return how the transports differ."""
    options = dict(zip(pair, values, strict=True))
    real = on("gearman", options, at_once)
    wrong = ""
    for transport in ("memory", "eager") if at_once else ("memory", "python-gearman"):
        found = on(transport, options, at_once)
        if transport == "python-gearman" and "has no delayed jobs" in "".join(found.errors):
            continue  # it cannot, and says so
        if found != real:
            wrong += f"\n{options}\n    {transport}: {found}\n    gearman: {real}"
    return wrong


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "at the end"])
@pytest.mark.parametrize("pair", PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_a_pair_of_options_comes_to_the_same(on, pair, at_once):
    wrong = "".join(
        compare(on, pair, values, at_once)
        for values in itertools.product(*(VALUES[name] for name in pair))
    )
    assert not wrong, wrong


@pytest.mark.parametrize("given", [{}, {"unique": "same"}, {"unique": True}], ids=str)
def test_jobs_that_were_delayed_run_in_the_same_order(at, job, given):
    def order(transport: str) -> list[Any]:
        at(transport)
        RAN.clear()
        declared = job(0)
        for value, options in (
            ("normal", {}),
            ("later", {"run_after": datetime.timedelta(seconds=0.5)}),
            ("tomorrow", {"run_after": datetime.timedelta(days=1)}),
            ("high", {"priority": "HIGH"}),
            ("later", {"run_after": datetime.timedelta(seconds=0.5)}),
            ("normal", {}),
        ):
            client = GearmanClient().using(**{**given, **options})
            client.submit_job(declared, value, background=True)
        time.sleep(2.1)  # gearmand knows whole seconds
        backend = get_backend()
        worker = backend.register([declared.name])
        while (assigned := worker.grab_job(0.1)) is not None:
            execute(declared, assigned, worker, backend.submit)
        worker.close()
        return list(RAN)

    ran = order("gearman")
    assert order("memory") == ran
    assert "tomorrow" not in ran
    assert {"normal", "high", "later"} == set(ran) or given == {"unique": "same"}


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "at the end"])
@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused_in_the_same_words(on, name, at_once):
    wrong = "".join(
        compare(on, (name, other), (WRONG[name], value), at_once)
        for other in VALUES
        if other != name
        for value in VALUES[other]
    )
    assert not wrong, wrong

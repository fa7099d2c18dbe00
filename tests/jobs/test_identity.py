"""A job's id, time and unique: the same through its attempts, and where its jobs came from."""

from __future__ import annotations

import itertools
import json
import logging
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_gearman import GearmanClient, current_job, gearman_job
from django_gearman.jobs.identity import CARRIED, Identity, identity_of, new_ids
from django_gearman.logs import JobFilter
from django_gearman.protocol.messages import AssignedJob, Priority
from django_gearman.protocol.names import fit_unique
from django_gearman.serializers import Call
from django_gearman.testing import override_gearman
from tests.app import gearman_jobs as jobs

_SOME_ID = "0199c0ffee007abc8def0123456789ab"


@pytest.mark.parametrize("unique", [None, "ada", True, "räport" * 50, "with\nend"])
@pytest.mark.parametrize("priority", [None, "HIGH", "LOW"])
def test_all_attempts_are_of_one_job(work, runs, gearman_client, unique, priority):
    before = time.time()
    request = jobs.flaky.using(unique=unique, priority=priority).do_background(2)
    work()
    work(61)
    work(61)

    assert [context.attempt for context in runs] == [1, 2, 3]
    assert {context.id for context in runs} == {request.id}
    assert {context.unique for context in runs} == {request.unique}
    [enqueued_at] = {context.enqueued_at for context in runs}
    assert before - 0.001 <= enqueued_at <= time.time()
    assert all(context.context == {} for context in runs)
    [submitted] = gearman_client.submitted
    assert request.id == request.job.id == submitted.id
    assert submitted.call.context == {}
    assert unique is not None or request.unique == request.id


def test_an_id_is_a_uuid_of_version_7():
    ids = [f"{number:032x}" for number in itertools.islice(new_ids(), 3)]

    assert {(len(each), uuid.UUID(each).version) for each in ids} == {(32, 7)}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    assert ids == sorted(set(ids))


def test_ids_of_many_submissions_differ():
    ids = [next(new_ids()) for _ in range(10_000)]

    assert len({number >> 32 for number in ids}) == 10_000
    assert len({number & 0xFFFFFFFF for number in ids}) > 9900
    assert all(uuid.UUID(int=number + 2**31 - 1).version == 7 for number in ids)


def test_each_of_many_jobs_has_its_own_id(gearman_client, runs):
    requests = gearman_client.submit_multiple_jobs(
        {"task": "tests.app.echo", "data": n, "unique": f"u{n}" if n % 2 else None}
        for n in range(50)
    )
    jobs.echo.map(range(50))

    assert [request.id for request in requests] == [context.id for context in runs[:50]]
    assert len({context.id for context in runs}) == 100


def test_a_job_that_submits_another_one_passes_no_identity_on(gearman_client, runs, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"request_id": 1}
    jobs.submit_with_context.using(unique="outer", priority="HIGH").do()

    outer, inner = runs
    assert outer.context == inner.context == {"request_id": 1}
    assert outer.unique == "outer"
    assert inner.unique == inner.id != outer.id


def test_an_old_worker_that_passes_it_on_makes_no_twin():
    """Workers of 1.0 hand the whole context to the jobs that a job submits."""
    context = Identity(_SOME_ID, "ada", Priority.HIGH).carried()

    def of(unique: str, attempt: int = 1) -> Identity:
        return identity_of(AssignedJob("h", "f", unique, b"", True), attempt, context)

    assert of("ada") == Identity(_SOME_ID, "ada", Priority.HIGH)
    assert of("eve").id != _SOME_ID
    assert of("0" * 32) == Identity("0" * 32, "0" * 32)
    assert of("ada", attempt=2).id != _SOME_ID


@pytest.mark.parametrize("unique", [None, "ada", True])
@pytest.mark.parametrize("priority", [None, "HIGH"])
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_workload_has_no_key_that_a_worker_of_1_0_refuses(settings, unique, priority, serializer):
    settings.GEARMAN_SERIALIZER = serializer
    client = GearmanClient().using(unique=unique, priority=priority)
    request = client.prepare("tests.app.flaky", Call([1]), True)

    if serializer == "json":
        envelope = json.loads(request.spec.workload)
        assert envelope.keys() <= {"args", "kwargs", "attempt", "context"}
        assert type(envelope.get("context", {})) is dict
    if unique is None and priority is None:
        bare = request.serializer.dumps_call(Call([1]))
        assert len(request.spec.workload) == len(bare), "most jobs carry nothing more"


@given(
    unique=st.text(),
    priority=st.sampled_from(Priority),
    attempt=st.integers(1, 2**31),
    background=st.booleans(),
)
def test_the_unique_of_the_submitter_is_separate_from_those_of_attempts(
    unique, priority, attempt, background
):
    identity = Identity(_SOME_ID, unique or _SOME_ID, priority)
    on_the_wire = fit_unique(identity.unique_of(attempt))
    assigned = AssignedJob("h", "f", on_the_wire, b"", background)

    assert identity_of(assigned, attempt, identity.carried()) == identity
    assert identity.unique_of(attempt + 1) != identity.unique_of(attempt)


@pytest.mark.parametrize(
    "carried",
    [5, None, "", _SOME_ID, f"{_SOME_ID}/URGENT/ada", f"{_SOME_ID}/HIGH", {"id": _SOME_ID}, ["x"]],
)
def test_an_identity_that_no_client_of_ours_writes_is_not_believed(carried):
    assigned = AssignedJob("h", "f", "ada", b"", True)

    assert identity_of(assigned, 1, {CARRIED: carried}) == identity_of(assigned, 1, {})


# Jobs that cannot carry an id


def test_raw_jobs_have_the_id_of_their_unique(gearman_client, runs):
    requests = [
        jobs.reverse_bytes.using(unique=unique).do_background(b"abc")
        for unique in (None, "ada", "ada", "eve", True, "x" * 100)
    ]

    assert [request.id for request in requests] == [context.id for context in runs]
    plain, ada, again, eve, *_ = runs
    assert plain.enqueued_at == pytest.approx(time.time(), abs=60)
    assert ada.id == again.id != eve.id
    assert all(len(context.id) == 32 for context in runs)


def foreign(unique: str, handle: str = "server//H:host:1") -> Identity:
    return identity_of(AssignedJob(handle, "f", unique, b""), 1, {})


def test_a_job_of_another_program_has_an_id_too():
    given_by_libgearman = "B8C0BE1C-0D33-11F0-B1A5-0242AC110002"

    assert foreign(given_by_libgearman).id == "b8c0be1c0d3311f0b1a50242ac110002"
    assert foreign(given_by_libgearman).unique == given_by_libgearman
    assert foreign("mine") == foreign("mine", "server//H:host:2") != foreign("yours")
    assert foreign("").id != foreign("", "server//H:host:2").id
    assert foreign("mine").enqueued_at is None


def test_of_a_job_that_cannot_be_read_only_a_generated_id_is_known():
    def unread(unique: str) -> str:
        return identity_of(AssignedJob("h", "f", unique, b""), 1, None).id

    assert unread(_SOME_ID) == unread(f"{_SOME_ID}:3") == _SOME_ID
    assert unread("ada") == ""


# Where it is shown


def test_log_records_carry_the_id(gearman_client, runs):
    fields = []

    @gearman_job(name="looks-at-its-records")
    def look():
        record = logging.LogRecord("shop", logging.INFO, "file", 1, "text", (), None)
        JobFilter().filter(record)
        job = current_job()
        assert job is not None
        fields.append((record.gearman_id, job.id))

    request = look.do_background()

    assert fields == [(request.id, request.id)]


def test_the_request_of_a_handle_has_no_id(gearman_client):
    request = jobs.echo.do_background(1)

    assert gearman_client.get_job_status(request.handle).id == ""


# Jobs of one unique


def test_failures_of_one_unique_do_not_pile_up(gearman_client, gearman_worker, ran):
    """Each attempt of a unique waits once, however often the job was submitted meanwhile."""
    with override_gearman("memory"):
        for _ in range(5):
            jobs.flaky.using(unique="ada").do_background(1)
            gearman_worker.run()
            gearman_worker.advance(seconds=1)
        gearman_worker.advance(seconds=61)
        gearman_worker.run()

    assert ran == [1, 1, 1, 1, 1, 2]


def test_uniques_do_not_meet_in_their_retries(gearman_client, gearman_worker, ran):
    with override_gearman("memory"):
        for unique in ("ada", "eve", None, None):
            jobs.flaky.using(unique=unique).do_background(1)
        gearman_worker.run()
        gearman_worker.advance(seconds=61)
        gearman_worker.run()

    assert ran == [1] * 4 + [2] * 4


def test_a_retry_at_once_keeps_its_priority(gearman_client, gearman_worker):
    order = []
    failing = itertools.count()

    @gearman_job(name="fails-at-first", retries=1, backoff=0)
    def fail(name):
        order.append(name)
        if name == "important" and next(failing) == 0:
            raise OSError("again")

    with override_gearman("memory"):
        fail.using(priority="HIGH").do_background("important")
        for n in range(3):
            fail.do_background(n)
        gearman_worker.run()

    assert order == ["important", "important", 0, 1, 2]

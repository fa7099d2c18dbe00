"""Batches: many background jobs of one kind, whose requests are made when asked for."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from django.db import transaction

from django_gearman import JOB_CREATED, JOB_FAILED, GearmanWorker, environment
from django_gearman.backends import close_backends, get_backend
from django_gearman.backends.base import WorkComplete
from django_gearman.exceptions import SerializationError, ServerError, SubmitUncertain
from django_gearman.middleware import Middleware
from django_gearman.protocol.packets import PacketType
from django_gearman.serializers import Call, JSONSerializer
from django_gearman.signals import job_submitted
from tests.app import gearman_jobs as jobs
from tests.support.fake_server import FakeServer


class SpacingSerializer(JSONSerializer):
    """A project's variant of a serializer that writes many calls at once."""

    def dumps_call(self, call: Call) -> bytes:
        return b" " + super().dumps_call(call)


pytestmark = pytest.mark.usefixtures("where")


@pytest.fixture
def memory(settings, request):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}


def test_each_item_is_the_argument_of_a_job(memory, ran):
    batch = jobs.note.enqueue_many(range(100))

    assert GearmanWorker(clean_connections=False).work(burst=True) == 100
    assert ran == list(range(100))
    assert repr(batch) == "<JobBatch of 100 jobs>"


def test_jobs_of_a_batch_run_in_the_caller_on_eager(settings, ran):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "eager", {}

    jobs.note.enqueue_many(["a", "b"])

    assert ran == ["a", "b"]


def test_a_batch_is_a_sequence_of_requests(memory):
    batch = jobs.note.enqueue_many(iter(range(5)))

    assert len(batch) == 5
    assert batch[-1] is batch[4]
    assert [request.call.args for request in batch[1:3]] == [(1,), (2,)]
    assert len({request.id for request in batch}) == 5
    assert {(request.task, request.state, request.background) for request in batch} == {
        ("tests.app.note", JOB_CREATED, True)
    }
    status = get_backend().job_status(batch[3].handle)
    assert (status.known, status.running) == (True, False)
    assert batch.refused == []


def test_a_copy_for_another_process_has_the_same_requests(settings, memory):
    settings.GEARMAN_OPTIONS["max_queued"] = 2
    batch = jobs.note.enqueue_many(range(3))

    copied = pickle.loads(pickle.dumps(batch))

    assert [(each.id, each.handle, each.state) for each in copied] == [
        (each.id, each.handle, each.state) for each in batch
    ]
    assert [request.call.args[0] for request in copied.refused] == [2]


@pytest.mark.gearmand
def test_tasks_queue_batches_at_once_and_one_may_be_cancelled(settings, own_gearmand, made):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "gearman", {}
    settings.GEARMAN_SERVERS = [own_gearmand.address]

    async def everything():
        cancelled, *others = [
            asyncio.create_task(jobs.echo.aenqueue_many(range(start, start + 1500)))
            for start in (0, 10_000, 20_000)
        ]
        while not cancelled.cancelled():  # before its jobs are sent, or acknowledged
            cancelled.cancel()
            await asyncio.sleep(0)
        return await asyncio.gather(*others)

    with environment.replaced(environment.PRODUCTION):
        batches = asyncio.run(everything())
        assert made == []

    session = get_backend().register(["tests.app.echo"], "by-hand")
    try:
        taken = {}
        while (job := session.grab_job(0.5)) is not None:
            taken[job.handle] = job.workload
            session.send(job, WorkComplete())
    finally:
        session.close()
    for batch in batches:
        found = [taken[request.handle] for request in batch]
        assert found == [request.spec.workload for request in batch]


def test_requests_are_made_when_they_are_asked_for(memory, made):
    with environment.replaced(environment.PRODUCTION):
        batch = jobs.note.enqueue_many(range(1000))
        assert made == []

        assert batch[7] is batch[7]
    assert len(made) == 1


def test_options_apply_to_each_job(memory):
    [request] = jobs.note.using(priority="HIGH").enqueue_many([1])

    assert request.priority == "HIGH"


@pytest.mark.parametrize("items", [[], (), iter([])])
def test_no_items_make_no_jobs(memory, items):
    assert list(jobs.note.enqueue_many(items)) == []


def test_nothing_is_sent_if_an_item_is_wrong(memory):
    with pytest.raises(SerializationError, match=r"^items\[2\]: job tests.app.note: "):
        jobs.note.enqueue_many([1, 2, object()])
    with pytest.raises(TypeError, match=r"^items\[0\]: job tests.app.nothing"):
        jobs.nothing.enqueue_many([1])

    assert get_backend().functions() == []


@pytest.mark.parametrize("items", ["text", b"bytes"])
def test_one_item_is_an_error(items):
    with pytest.raises(TypeError, match=r"enqueue_many takes an iterable of items, not one item"):
        jobs.note.enqueue_many(items)


def test_one_unique_for_all_is_an_error(memory):
    with pytest.raises(ValueError, match="would make one job of all 2"):
        jobs.note.using(unique="u").enqueue_many([1, 2])

    assert len(jobs.note.using(unique=True).enqueue_many([1, 2, 1])) == 3
    assert get_backend().functions()[0].total == 2


def test_refused_jobs_say_why(settings, memory):
    settings.GEARMAN_OPTIONS["max_queued"] = 2

    batch = jobs.note.enqueue_many(range(4))

    assert [request.call.args for request in batch.refused] == [(2,), (3,)]
    assert {request.state for request in batch.refused} == {JOB_FAILED}
    assert all(isinstance(request.exception, ServerError) for request in batch.refused)
    assert batch[0].state == JOB_CREATED


def test_receivers_and_middleware_see_each_request(settings, memory):
    seen: list[object] = []

    class Seeing(Middleware):
        def around_submit(self, requests, submit):
            seen.append(len(requests))
            submit(requests)

    settings.GEARMAN_MIDDLEWARE = [Seeing]

    def note(request, **named):
        seen.append(request.call.args)

    job_submitted.connect(note)
    try:
        jobs.note.enqueue_many([1, 2])
    finally:
        job_submitted.disconnect(note)

    assert seen == [2, (1,), (2,)]


@pytest.mark.django_db(transaction=True)
def test_jobs_of_a_batch_wait_for_the_commit(memory):

    with transaction.atomic():
        batch = jobs.note.using(on_commit=True).enqueue_many([1, 2])
        assert {request.handle for request in batch} == {""}

    assert {request.state for request in batch} == {JOB_CREATED}


@pytest.mark.gearmand
def test_each_job_of_a_batch_reaches_a_real_server(settings, own_gearmand):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "gearman", {}
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    items = [
        *range(2500),
        "",
        "\0",
        "é\U0001f600",
        None,
        True,
        1.5,
        [1, {"a": (2,)}],
        "x" * 100_000,
    ]

    with environment.replaced(environment.PRODUCTION):
        batch = jobs.echo.enqueue_many(items)

    session = get_backend().register(["tests.app.echo"], "by-hand")
    try:
        taken = [session.grab_job(20) for _ in items]
    finally:
        session.close()
    assert [job.handle for job in taken] == [request.handle for request in batch]
    assert [job.unique for job in taken] == [request.id for request in batch]
    assert [job.workload for job in taken] == [request.spec.workload for request in batch]
    serializer = batch[0].serializer
    assert [serializer.loads_call(job.workload).args for job in taken] == [[each] for each in items]


@pytest.mark.parametrize("serializer", ["json", "pickle", SpacingSerializer()])
def test_a_serializer_of_the_project_writes_each_item(memory, monkeypatch, serializer):
    monkeypatch.setattr(jobs.note, "serializer", serializer)

    with environment.replaced(environment.PRODUCTION):
        batch = jobs.note.enqueue_many([1, "a", None])

    for request, item in zip(batch, [1, "a", None], strict=True):
        expected = request.serializer.dumps_call(Call((item,)))
        assert (request.spec.workload, request.call.args) == (expected, (item,))
        assert request.serializer.loads_call(expected).args == [item]


@pytest.mark.parametrize("way", ["enqueue_many", "aenqueue_many"])
def test_jobs_that_were_not_acknowledged_are_an_error_with_the_batch(settings, way):
    def serve(peer):
        greet(way, peer)
        peer.expect(PacketType.SUBMIT_JOB_BG)
        peer.reply(PacketType.JOB_CREATED, b"H:fake:1")

    with FakeServer(serve) as server, environment.replaced(environment.PRODUCTION):
        settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "gearman", {}
        settings.GEARMAN_SERVERS = [server.address]
        with pytest.raises(SubmitUncertain, match="2 of 3 jobs were sent") as caught:
            enqueue(way, range(3))

    batch = caught.value.requests
    assert [bool(request.handle) for request in batch] == [True, False, False]
    assert isinstance(batch[1].exception, SubmitUncertain)
    assert batch.refused == batch[1:]


def enqueue(way, items):
    if way == "aenqueue_many":
        return asyncio.run(jobs.note.aenqueue_many(items))
    return jobs.note.enqueue_many(items)


def greet(way, peer):
    peer.handshake()
    if way == "aenqueue_many":  # a loop's connection begins with a question, too
        [handle] = peer.expect(PacketType.GET_STATUS).args
        peer.reply(PacketType.STATUS_RES, handle, b"0", b"0", b"0", b"0")


@pytest.mark.parametrize("way", ["enqueue_many", "aenqueue_many"])
def test_jobs_that_a_server_refused_do_not_change_the_handles_of_the_others(settings, way):
    # Given a server that refuses some jobs of a batch, in the middle of its answers
    def serve(peer):
        greet(way, peer)
        for number in range(500):
            peer.expect(PacketType.SUBMIT_JOB_BG)
            if number in (3, 4, 250):
                peer.reply(PacketType.ERROR, b"JOB_QUEUE_FULL", b"full")
            else:
                peer.reply(PacketType.JOB_CREATED, b"H:fake:%d" % number)
        peer.wait_for_end()

    with FakeServer(serve) as server, environment.replaced(environment.PRODUCTION):
        settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = "gearman", {}
        settings.GEARMAN_SERVERS = [server.address]
        # When they are submitted
        batch = enqueue(way, range(500))
        close_backends()

    # Then these have the error, and the others their own handles
    assert [request.call.args[0] for request in batch.refused] == [3, 4, 250]
    assert {request.state for request in batch.refused} == {JOB_FAILED}
    expected = ["" if n in (3, 4, 250) else f"{server.address}//H:fake:{n}" for n in range(500)]
    assert [request.handle for request in batch] == expected

"""Many jobs in one call."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from django_gearman import JOB_CREATED, JOB_FAILED, PRIORITY_HIGH, GearmanClient
from django_gearman.backends import get_backend
from django_gearman.backends.memory import MemoryBackend
from django_gearman.exceptions import (
    ConnectionLost,
    JobNotRegistered,
    SerializationError,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from tests.app import gearman_jobs as jobs

pytestmark = pytest.mark.usefixtures("where")


def test_many_jobs_keep_their_order(client):
    entries = [{"task": "tests.app.echo", "data": number} for number in range(50)]

    requests = client.submit_multiple_jobs(entries)

    assert [request.result for request in requests] == list(range(50))


def test_each_of_many_jobs_has_its_own_arguments_and_options(client, ran):
    requests = client.submit_multiple_jobs(
        [
            {"task": "tests.app.add", "args": [1, 2]},
            {"task": jobs.add, "kwargs": {"left": 1}, "unique": "u", "priority": PRIORITY_HIGH},
            {"task": "tests.app.add", "data": {"args": [5], "kwargs": {"right": 6}}},
        ]
    )

    assert [request.result for request in requests] == [3, 11, 11]
    assert (requests[1].unique, requests[1].priority) == ("u", "HIGH")


@pytest.mark.parametrize("task", ["tests.app.echo", jobs.echo, jobs.echo.using(priority="HIGH")])
def test_many_jobs_of_one_task_have_their_requests(memory, client, task):
    items = [*range(50), "text", None, [1, "x"]]

    requests = client.submit_multiple_jobs(
        ({"task": task, "data": item} for item in items), background=True
    )

    assert type(requests) is list
    assert [[*request.call.args] for request in requests] == [[item] for item in items]
    assert {(request.task, request.state, request.background) for request in requests} == {
        ("tests.app.echo", JOB_CREATED, True)
    }
    assert len({request.id for request in requests}) == len(items)
    assert all(get_backend().job_status(request.handle).known for request in requests)
    assert {request.priority for request in requests} == {
        None if isinstance(task, str) else task.options.priority
    }


@pytest.mark.parametrize(
    "last",
    [
        {"task": "tests.app.note", "data": 1},
        {"task": "tests.app.echo", "args": [1]},
        {"task": "tests.app.echo", "data": {"args": [1], "kwargs": {}}},
        {"task": "tests.app.echo", "data": 1, "priority": "HIGH"},
    ],
)
def test_a_job_that_differs_from_the_others_is_submitted_with_them(memory, client, last):
    requests = client.submit_multiple_jobs(
        [{"task": "tests.app.echo", "data": 0}, last], background=True
    )

    assert [[*request.call.args] for request in requests] == [[0], [1]]
    assert (requests[1].task, requests[1].priority) == (last["task"], last.get("priority"))


@pytest.mark.parametrize(
    "entry", [{}, {"data": 1}, "tests.app.echo", {"task": "tests.app.echo", "uniq": 1}]
)
@pytest.mark.parametrize("background", [True, False])
def test_none_of_many_is_sent_when_one_is_wrong(memory, client, entry, background):
    with pytest.raises(TypeError):
        client.submit_multiple_jobs([{"task": "tests.app.echo", "data": 1}, entry], background)
    with pytest.raises(TypeError):
        client.submit_multiple_jobs([entry, {"task": "tests.app.echo", "data": 1}], background)

    assert get_backend().functions() == []


@pytest.mark.parametrize("background", [True, False])
def test_an_error_says_which_of_many_jobs_it_is_about(client, background):
    entries = [{"task": "tests.app.echo", "data": value} for value in (1, 2, object(), 3)]

    with pytest.raises(SerializationError, match=r"^jobs_to_submit\[2\]: job tests.app.echo: "):
        client.submit_multiple_jobs(entries, background)
    with pytest.raises(JobNotRegistered, match=r"^jobs_to_submit\[0\]: "):
        client.submit_multiple_jobs([{"task": "tests.app.unknown", "data": 1}], background)
    with pytest.raises(TypeError, match=r"^jobs_to_submit\[0\]: job tests.app.nothing"):
        client.submit_multiple_jobs([{"task": "tests.app.nothing", "data": 1}], background)
    with pytest.raises(SerializationError, match=r"^items\[1\]: job tests.app.echo: "):
        jobs.echo.map([1, object()])
    with pytest.raises(TypeError) as caught:
        client.submit_multiple_jobs([{"task": "tests.app.echo", "uniq": "x" * 100_000}])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("item", ["photo.jpg", b"photo"])
def test_one_text_is_not_many_items(item):
    with pytest.raises(TypeError, match="not one item"):
        jobs.echo.map(item)


def test_one_of_many_that_is_refused_does_not_stop_the_others(memory, settings, client):
    settings.GEARMAN_OPTIONS = {**settings.GEARMAN_OPTIONS, "max_queued": 2}
    entries = [{"task": "tests.app.note", "data": number} for number in range(3)]

    first, second, third = client.submit_multiple_jobs(entries, background=True)

    assert [first.state, second.state, third.state] == [JOB_CREATED, JOB_CREATED, JOB_FAILED]
    assert isinstance(third.exception, ServerError)
    with pytest.raises(ServerError, match="full"):
        _ = third.result
    with pytest.raises(ServerError, match="full"):
        client.submit_job("tests.app.note", 4, background=True)


def test_without_jobs_there_is_no_work(client):
    assert client.submit_multiple_jobs([]) == []
    assert client.wait_until_jobs_completed([]) == []


def test_jobs_submitted_together_agree_on_their_delivery(memory, client):
    held = jobs.note.using(on_commit=True)
    entries = [{"task": "tests.app.note", "data": 1}, {"task": held, "data": 2}]

    with pytest.raises(ValueError, match="must agree on on_commit"):
        client.submit_multiple_jobs(entries, background=True)

    assert get_backend().functions() == []


def test_none_is_the_default_of_every_option(client):
    [request] = client.submit_multiple_jobs(
        [{"task": "tests.app.echo", "data": 1, "unique": None, "args": None}],
        None,
        None,
        None,
        None,
    )

    assert (request.background, request.result) == (False, 1)


@pytest.mark.parametrize("option", ["background", "wait_until_complete"])
def test_an_option_that_is_not_a_bool_is_refused(client, option):
    with pytest.raises(TypeError, match=option):
        client.submit_multiple_jobs([{"task": "tests.app.echo", "data": 1}], **{option: "yes"})


class Flaky(MemoryBackend):
    """Loses the acknowledgement of every second job, and then cannot be reached."""

    reachable = True

    def submit(self, specs):
        if not Flaky.reachable:
            raise ServerUnavailable("gone")
        Flaky.reachable = False
        submissions = super().submit(specs)
        for submission in submissions[1::2]:
            submission.error = SubmitUncertain("lost")
        return submissions


@pytest.mark.parametrize("retries", [0, 1])
def test_accepted_jobs_are_reported_though_a_retry_finds_no_server(settings, client, retries):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = f"{__name__}.Flaky", {}
    Flaky.reachable = True
    entries = [{"task": "tests.app.note", "data": number} for number in range(4)]

    with pytest.raises(SubmitUncertain, match="2 of 4") as caught:
        client.submit_multiple_jobs(entries, background=True, max_retries=retries)

    states = [request.state for request in caught.value.requests]
    assert states == [JOB_CREATED, JOB_FAILED, JOB_CREATED, JOB_FAILED]


def test_a_client_that_hangs_up_does_not_wait_forever(memory, client):
    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)

    get_backend().close()

    with pytest.raises(ConnectionLost):
        request.wait(20)


def test_an_error_of_a_job_can_be_pickled(client):
    error = client.submit_job("tests.app.fail", "boom").exception

    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == str(error)
    assert (copy.message, copy.traceback) == ("boom", error.traceback)


@pytest.mark.parametrize("transport", ["eager", "memory"])
def test_methods_for_event_loops_work_without_a_half_for_loops(request, transport):
    request.node.add_marker(pytest.mark.gearman(transport))
    request.getfixturevalue("gearman_client")
    client = GearmanClient()

    async def act() -> tuple[list[object], list[bool | None], int]:
        entries = [{"task": "tests.app.echo", "data": number} for number in range(3)]
        requests = await client.asubmit_multiple_jobs(entries, wait_until_complete=False)
        await client.await_until_jobs_completed(requests, poll_timeout=20)
        known = [(await client.aget_job_status(each)).status.known for each in requests]
        batch = await jobs.echo.aenqueue_many([1, 2])
        return [each.result for each in requests], known, len(batch)

    assert asyncio.run(act()) == ([0, 1, 2], [False] * 3, 2)

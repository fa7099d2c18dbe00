"""From a call to the job: its name, its arguments and its options."""

from __future__ import annotations

import pytest

from django_gearman.backends import get_backend
from django_gearman.exceptions import JobNotRegistered, SerializationError, ServerUnavailable
from django_gearman.testing.gearmand import free_port
from tests.app import gearman_jobs as jobs
from tests.support.workers import work_off

# Arguments


@pytest.mark.parametrize("data", [0, "", None, False, [], {}, "text", [1, 2]])
def test_data_is_the_first_argument_falsy_or_not(client, data):
    assert client.submit_job("tests.app.echo", data).result == data


@pytest.mark.parametrize(
    ("args", "kwargs", "result"),
    [
        (["tests.app.add", 1], {}, 11),
        (["tests.app.add"], {"left": 1, "right": 2}, 3),
        (["tests.app.add", 1], {"right": 2}, 3),
        (["tests.app.add", None], {"left": 1}, 11),
        (["tests.app.add"], {"args": [1, 2]}, 3),
        (["tests.app.add"], {"args": (1,), "kwargs": {"right": 5}}, 6),
        (["tests.app.add"], {"args": iter([1, 2])}, 3),
        (["tests.app.add"], {"left": 1, "kwargs": {"left": 5}}, 15),
        (["tests.app.add", None, None, None, None, None, None, None, 1, 2], {}, 3),
        (["tests.app.nothing"], {}, "ran"),
        (["tests.app.nothing", None], {}, "ran"),
        (["send-mail", "ada"], {"subject": "Hi"}, "Hi, ada"),
    ],
)
def test_arguments_reach_the_job(client, args, kwargs, result):
    assert client.submit_job(*args, **kwargs).result == result


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (["tests.app.add", 1, 2, 3], {}, "unique is a string"),
        (["tests.app.add", 1], {"args": [2]}, "args="),
        (["tests.app.add"], {"args": "ab"}, "args is a list"),
        (["tests.app.add"], {"args": 5}, "args is a list"),
        (["tests.app.add"], {"args": {"a"}}, "args is a list"),
        (["tests.app.add"], {"kwargs": [("left", 1)]}, "kwargs is a dict"),
        (["tests.app.add"], {"kwargs": {1: 1}}, "names of arguments"),
        (["tests.app.add"], {}, "missing a required argument: 'left'"),
        (["tests.app.add", 1], {"wrong": 2}, "tests.app.add(left"),
        (["tests.app.nothing", 1], {}, "too many positional"),
        (["tests.app.echo", 1], {"unique": 7}, "unique is a string"),
        (["tests.app.echo", 1], {"priority": 3}, "priority is PRIORITY_LOW"),
        (["tests.app.echo", 1], {"background": "yes"}, "background is True"),
        (["tests.app.echo", 1], {"wait_until_complete": 1}, "wait_until_complete is True"),
        (["tests.app.echo", 1], {"max_retries": 1.5}, "max_retries is a whole number"),
        (["tests.app.echo", 1], {"poll_timeout": "5"}, "timeout is a number"),
        ([5], {}, "a task is a job's name"),
        ([print], {}, "a task is a job's name"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(memory, client, args, kwargs, message):
    with pytest.raises(TypeError) as caught:
        client.submit_job(*args, **kwargs)

    assert message in str(caught.value)
    assert get_backend().functions() == [], "something was sent"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"priority": "URGENT"}, "'LOW'"),
        ({"max_retries": -1}, "0 or more"),
        ({"poll_timeout": -0.5}, "0 or more"),
        ({"poll_timeout": float("nan")}, "0 or more"),
    ],
)
def test_a_value_out_of_range_is_refused(client, kwargs, message):
    with pytest.raises(ValueError, match=message):
        client.submit_job("tests.app.echo", 1, **kwargs)


def test_an_argument_that_cannot_be_serialized_is_refused_and_the_client_continues(client):
    with pytest.raises(
        SerializationError, match=r"job tests\.app\.echo: cannot serialize args\[0\]"
    ):
        client.submit_job("tests.app.echo", object())

    assert client.submit_job("tests.app.echo", 1).result == 1


def test_an_empty_workload_is_refused_where_a_server_may_store_it(client):
    assert client.submit_job("tests.app.reverse_bytes", b"").result == b""
    with pytest.raises(SerializationError, match="workload is empty"):
        client.submit_job("tests.app.reverse_bytes", b"", background=True)


def test_a_later_change_by_the_caller_does_not_reach_the_job(memory, client, ran):
    value = [1]
    client.submit_job("tests.app.note", value, background=True)
    value.append(2)

    work_off()

    assert ran == [[1]]


# Names


@pytest.mark.parametrize("backend", ["eager", "memory", "gearman", "python-gearman"])
@pytest.mark.parametrize(
    "submit",
    [
        lambda client: client.submit_job("tests.app.ecko", 1),
        lambda client: client.submit_job("tests.app.ecko", 1, background=True),
        lambda client: client.submit_multiple_jobs([{"task": "tests.app.ecko", "data": 1}]),
        lambda client: client.dispatch_background_task("tests.app.ecko", 1),
        lambda client: client.using(unique="u").submit_job("tests.app.ecko", 1),
        lambda client: client.using(serializer="raw").submit_job("tests.app.ecko", b"1"),
        lambda client: client.using(on_commit=True).dispatch_background_task("tests.app.ecko"),
    ],
    ids=["submit", "background", "multiple", "dispatch", "using", "raw", "on commit"],
)
def test_an_unknown_name_is_refused_on_every_transport(settings, client, submit, backend):
    settings.GEARMAN_BACKEND = backend
    del settings.GEARMAN_EXTERNAL_JOBS  # as by default

    says = r"'tests\.app\.ecko'; did you mean 'tests\.app\.echo'\?.* to GEARMAN_EXTERNAL_JOBS"
    with pytest.raises(JobNotRegistered, match=says):
        submit(client)


@pytest.mark.parametrize("name", ["", "with space", "tab\t", "x" * 256, "later@delayed"])
def test_a_value_that_is_not_a_name_is_refused(settings, client, name):
    settings.GEARMAN_BACKEND = "gearman"
    with pytest.raises(ValueError, match="is not a job name"):
        client.submit_job(name, 1)


def test_external_jobs_are_those_that_the_setting_lists(settings, client):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [f"127.0.0.1:{free_port()}"]
    settings.GEARMAN_EXTERNAL_JOBS = ["php.*"]

    with pytest.raises(ServerUnavailable):  # it would have been sent
        client.submit_job("php.pdf", 1)
    with pytest.raises(ServerUnavailable):
        client.submit_multiple_jobs([{"task": "php.pdf", "data": 1}])
    with pytest.raises(JobNotRegistered):
        client.submit_job("perl.pdf", 1)


def test_a_job_may_stand_for_its_name(client):
    assert client.submit_job(jobs.add, 1).result == 11
    assert client.submit_job(jobs.add.using(unique="u"), 1).unique == "u"

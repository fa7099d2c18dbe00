from __future__ import annotations

import datetime
import pickle
import threading

import pytest
from django.db import transaction
from django.test import override_settings

from django_gearman import (
    JOB_COMPLETE,
    JOB_CREATED,
    JOB_FAILED,
    JOB_PENDING,
    PRIORITY_HIGH,
    PRIORITY_LOW,
    GearmanClient,
    GearmanWorker,
    gearman_job,
)
from django_gearman.backends import get_backend
from django_gearman.backends.memory import MemoryBackend
from django_gearman.client.request import JobRequest
from django_gearman.exceptions import (
    ConnectionLost,
    InvalidBackend,
    JobNotRegistered,
    JobRaised,
    JobTimeout,
    ResultUnavailable,
    SerializationError,
    ServerError,
    ServerUnavailable,
    SubmitUncertain,
)
from django_gearman.serializers.failures import read_error
from django_gearman.signals import job_submitted
from django_gearman.testing.gearmand import free_port
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until
from tests.support.workers import work_off


@pytest.fixture
def client() -> GearmanClient:
    return GearmanClient()


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
    ("args", "kwargs", "told"),
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
def test_a_call_that_cannot_be_meant_is_refused(memory, client, args, kwargs, told):
    with pytest.raises(TypeError) as caught:
        client.submit_job(*args, **kwargs)

    assert told in str(caught.value)
    assert get_backend().functions() == [], "something was sent"


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"priority": "URGENT"}, "'LOW'"),
        ({"max_retries": -1}, "0 or more"),
        ({"poll_timeout": -0.5}, "0 or more"),
        ({"poll_timeout": float("nan")}, "0 or more"),
    ],
)
def test_a_value_out_of_range_is_refused(client, kwargs, told):
    with pytest.raises(ValueError, match=told):
        client.submit_job("tests.app.echo", 1, **kwargs)


def test_what_cannot_be_serialized_is_refused_and_the_client_goes_on(client):
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
def test_what_is_no_name_is_refused(settings, client, name):
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


# Outcomes


def test_a_finished_request_tells_all(client):
    request = client.submit_job("tests.app.report", 2)

    assert (request.state, request.complete, request.timed_out) == (JOB_COMPLETE, True, False)
    assert request.result == "tests.app.report"
    assert request.exception is None
    assert list(request.data_updates) == [{"part": 1}]
    assert list(request.warning_updates) == ["beware"]
    assert (request.status["numerator"], request.status["denominator"]) == (2, 2)
    assert list(request.status_updates) == [(1, 2), (2, 2)]
    assert request.job is request.gearman_job
    assert request.job.to_dict() == {
        "task": "tests.app.report",
        "job_handle": request.handle,
        "unique": request.unique,
        "data": {"args": [2], "kwargs": {}},
    }


def test_a_failed_job_raises_when_its_result_is_read(client):
    request = client.submit_job("tests.app.fail", "boom")

    assert (request.state, request.complete) == (JOB_FAILED, True)
    assert list(request.warning_updates) == []
    with pytest.raises(JobRaised, match="ValueError: boom") as caught:
        _ = request.result
    assert caught.value is request.exception
    assert (caught.value.exception_type, caught.value.message) == ("ValueError", "boom")
    assert "raise ValueError(message)" in caught.value.traceback
    assert any("raise ValueError(message)" in note for note in caught.value.__notes__)


def test_a_job_that_exits_has_failed(client):
    with pytest.raises(JobRaised, match="SystemExit: 3"):
        _ = client.submit_job("tests.app.leave").result


def test_a_result_that_cannot_be_serialized_fails_the_job(client):
    with pytest.raises(JobRaised, match=r"SerializationError.*result of job"):
        _ = client.submit_job("tests.app.return_lambda").result


def test_a_background_request_has_no_result(client, ran):
    request = client.submit_job("tests.app.note", 5, background=True)

    assert (request.state, request.complete, request.background) == (JOB_CREATED, True, True)
    assert ran == [5]
    with pytest.raises(ResultUnavailable, match="background"):
        _ = request.result


def test_waiting_ends_in_time(memory, client):
    request = client.submit_job("tests.app.echo", 1, poll_timeout=0.01)

    assert (request.state, request.complete, request.timed_out) == (JOB_CREATED, False, True)
    with pytest.raises(JobTimeout):
        _ = request.result
    with pytest.raises(TimeoutError):
        _ = request.wait(0).result


def test_a_request_can_be_waited_for_later(memory, client):
    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
    assert (request.state, request.complete, request.timed_out) == (JOB_CREATED, False, False)
    with pytest.raises(ResultUnavailable, match="wait"):
        _ = request.result

    work_off()

    assert request.wait(20).result == 1


def test_updates_come_as_the_job_sends_them(memory, client):
    request = client.submit_job("tests.app.report", 2, wait_until_complete=False)

    work_off()

    told = [type(update).__name__ for update in request.updates(20)]
    assert told == ["WorkStatus", "WorkStatus", "WorkData", "WorkWarning", "WorkComplete"]


def test_status_is_asked_by_request_or_handle(memory, client):
    request = client.submit_job("tests.app.echo", 1, background=True)

    assert client.get_job_status(request) is request
    assert request.status.keys() == {
        "handle",
        "known",
        "running",
        "numerator",
        "denominator",
        "time_received",
    }
    assert (request.status["known"], request.status["running"]) == (True, False)
    assert client.get_job_status(request.handle).status["known"] is True
    with pytest.raises(ValueError, match="not the handle"):
        client.get_job_status("nonsense")
    with pytest.raises(TypeError, match="a JobRequest or a handle"):
        client.get_job_status(None)
    with pytest.raises(TypeError, match="JobRequests are waited for"):
        client.wait_until_jobs_completed([request.handle])


def test_only_who_submitted_a_job_can_wait_for_it(memory, client):
    handle = client.submit_job("tests.app.echo", 1, background=True).handle

    with pytest.raises(ResultUnavailable, match=f"job {handle} was submitted elsewhere"):
        client.get_job_status(handle).wait(0)


@pytest.mark.django_db
def test_what_was_not_submitted_is_not_waited_for(client, ran):
    done = client.submit_job("tests.app.echo", 1)
    with transaction.atomic():
        held = client.using(on_commit=True).submit_job("tests.app.note", 1, background=True)
        with pytest.raises(ResultUnavailable, match="has not committed"):
            client.wait_until_jobs_completed([done, held])


def test_what_is_said_of_a_job_is_taken_in_its_order(memory, client, monkeypatch):
    others = []

    def read_while_another_waits(data):
        others.append(thread := threading.Thread(target=lambda: request.wait(5)))
        thread.start()
        thread.join(0.2)  # it would end, if it took the failure
        return read_error(data)

    monkeypatch.setattr("django_gearman.client.request.read_error", read_while_another_waits)
    request = client.submit_job("tests.app.fail", "boom", wait_until_complete=False)
    work_off()

    request.wait(5)
    others[0].join()

    assert isinstance(request.exception, JobRaised)


@pytest.mark.parametrize("timeout", [1e300, float("inf")])
def test_a_time_limit_may_be_as_long_as_one_likes(client, memory, timeout):
    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
    work_off()

    assert request.wait(timeout).result == 1


def test_two_threads_may_wait_for_one_job(memory, client):
    class Raced(JobRequest):
        """Another thread takes the outcome as soon as this one has seen that there is none."""

        @property
        def complete(self):
            seen = super().complete
            if not seen:
                self.state, self._result, self._submission = JOB_COMPLETE, b"1", None
            return seen

    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
    request.__class__ = Raced

    assert request.wait(0).result == 1


# Many at once


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


@pytest.mark.parametrize(
    "entry", [{}, {"data": 1}, "tests.app.echo", {"task": "tests.app.echo", "uniq": 1}]
)
def test_none_of_many_is_sent_when_one_is_wrong(memory, client, entry):
    with pytest.raises(TypeError):
        client.submit_multiple_jobs([{"task": "tests.app.echo", "data": 1}, entry])

    assert get_backend().functions() == []


def test_an_error_says_which_of_many_jobs_it_is_about(client):
    entries = [{"task": "tests.app.echo", "data": value} for value in (1, 2, object(), 3)]

    with pytest.raises(SerializationError, match=r"^jobs_to_submit\[2\]: job tests.app.echo: "):
        client.submit_multiple_jobs(entries)
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


def test_no_jobs_are_no_work(client):
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
def test_an_option_that_is_no_bool_is_refused(client, option):
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
def test_what_was_accepted_is_told_though_a_retry_finds_no_server(settings, client, retries):
    settings.GEARMAN_BACKEND, settings.GEARMAN_OPTIONS = f"{__name__}.Flaky", {}
    Flaky.reachable = True
    entries = [{"task": "tests.app.note", "data": number} for number in range(4)]

    with pytest.raises(SubmitUncertain, match="2 of 4") as caught:
        client.submit_multiple_jobs(entries, background=True, max_retries=retries)

    states = [request.state for request in caught.value.requests]
    assert states == [JOB_CREATED, JOB_FAILED, JOB_CREATED, JOB_FAILED]


def test_a_client_that_hangs_up_does_not_wait_for_ever(memory, client):
    request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)

    get_backend().close()

    with pytest.raises(ConnectionLost):
        request.wait(20)


def test_an_error_of_a_job_can_be_pickled(client):
    error = client.submit_job("tests.app.fail", "boom").exception

    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == str(error)
    assert (copy.message, copy.traceback) == ("boom", error.traceback)


# Background


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (["x"], {}),
        ([], {"data": "x"}),
        ([], {"arg": "x"}),
        ([], {"args": ["x"]}),
        ([], {"kwargs": {"value": "x"}}),
        ([], {"value": "x"}),
        (["x"], {"background": True}),
        (["x", "u-1", True], {}),
        (["x"], {"uniq": "u-1", "high_priority": True}),
        (["x"], {"unique": "u-1", "priority": "HIGH"}),
        (["x"], {"wait_until_complete": True, "poll_timeout": 1, "max_retries": 1}),
    ],
)
def test_background_tasks_run_in_the_background(client, ran, args, kwargs):
    request = client.dispatch_background_task("tests.app.note", *args, **kwargs)

    assert (request.background, request.state, request.complete) == (True, JOB_CREATED, True)
    assert ran == ["x"]
    if "u-1" in [*args, *kwargs.values()]:
        assert (request.unique, request.priority) == ("u-1", "HIGH")


@pytest.mark.parametrize(
    "kwargs",
    [
        {"background": False},
        {"arg": 1, "data": 2},
        {"uniq": "a", "unique": "b"},
        {"high_priority": True, "priority": "LOW"},
        {"wait_until_complete": "never"},
    ],
)
def test_a_background_task_that_cannot_be_meant_is_refused(client, kwargs):
    with pytest.raises(TypeError):
        client.dispatch_background_task("tests.app.note", **kwargs)


def test_a_low_priority_waits_behind(memory, client, ran):
    client.submit_job("tests.app.note", "low", priority=PRIORITY_LOW, background=True)
    client.submit_job("tests.app.note", "normal", background=True)
    client.dispatch_background_task("tests.app.note", "high", high_priority=True)

    work_off()

    assert ran == ["high", "normal", "low"]


@pytest.mark.parametrize("high", ["c", 1])
def test_a_high_priority_is_true_or_false(client, high):
    with pytest.raises(TypeError, match="high_priority"):
        client.dispatch_background_task("tests.app.note", "a", "b", high)


# Uniques


@pytest.mark.parametrize("unique", [True, "-"])
def test_the_same_arguments_are_the_same_job(memory, client, ran, unique):
    same = [
        {"args": [1, 2]},
        {"left": 1, "right": 2},
        {"right": 2, "left": 1},
        {"args": [1], "right": 2},
    ]
    requests = [
        client.submit_job("tests.app.add", unique=unique, background=True, **call) for call in same
    ]

    assert len({request.handle for request in requests}) == 1
    other = client.submit_job("tests.app.add", args=[2, 2], unique=unique, background=True)
    assert other.handle != requests[0].handle


def test_the_same_bytes_are_the_same_job(memory, client):
    @gearman_job(name="carries-bytes", serializer="raw")
    def carry(data): ...

    handles = [
        carry.using(unique=True).do_background(data).handle for data in (b"1.0", b"1.00", b"1.0")
    ]

    assert handles[0] == handles[2] != handles[1]
    assert carry.using(unique=True).do_background(b"[" * 200_000).handle


def test_a_default_that_cannot_be_serialized_is_no_obstacle():
    @gearman_job(name="odd-default")
    def odd(value, printer=print):
        return printer is print

    assert odd.using(unique=True).do(1) is True


@pytest.mark.parametrize("unique", [None, "", False])
def test_no_unique_means_a_new_job_each_time(memory, client, unique):
    first, second = (
        client.submit_job("tests.app.note", 1, unique=unique, background=True) for _ in range(2)
    )

    assert first.handle != second.handle
    assert len(first.unique) == 32


# Later


def test_a_delayed_job_is_held_back(memory, client, ran):
    later = client.using(run_after=datetime.timedelta(hours=1))
    request = later.submit_job("tests.app.note", "later", background=True)
    work_off()
    assert (request.state, ran) == (JOB_CREATED, [])

    get_backend().server.offset = 3601
    work_off()

    assert ran == ["later"]


def test_a_delay_beyond_the_calendar_is_refused(client):
    with pytest.raises(ValueError, match="run_after"):
        client.using(run_after=datetime.timedelta.max).submit_job(
            "tests.app.note", 1, None, None, True
        )


@pytest.mark.parametrize("option", [{"run_after": datetime.timedelta(1)}, {"on_commit": True}])
def test_nobody_can_wait_for_a_job_that_is_not_submitted_yet(client, option):
    with pytest.raises(ValueError, match="background jobs"):
        client.using(**option).submit_job("tests.app.echo", 1)


@pytest.mark.parametrize(
    "option",
    [{"run_after": 5}, {"run_after": "tomorrow"}, {"on_commit": 1}, {"priority": 1}, {"nope": 1}],
)
def test_a_wrong_option_is_refused(client, option):
    with pytest.raises(TypeError):
        client.using(**option)


@pytest.mark.django_db(transaction=True)
def test_a_job_goes_out_when_the_transaction_commits(client, ran):
    with transaction.atomic():
        request = client.using(on_commit=True).submit_job("tests.app.note", 1, background=True)
        assert (request.state, request.complete, request.handle, ran) == (
            JOB_PENDING,
            False,
            "",
            [],
        )

    assert (request.state, ran) == (JOB_CREATED, [1])


@pytest.mark.django_db(transaction=True)
def test_a_job_never_goes_out_when_the_transaction_rolls_back(client, ran):
    with pytest.raises(RuntimeError), transaction.atomic():
        request = client.using(on_commit="default").submit_job("tests.app.note", 1, background=True)
        raise RuntimeError

    assert ran == []
    with pytest.raises(ResultUnavailable, match="its transaction has not committed"):
        request.wait()
    with pytest.raises(ValueError, match=r"tests.app.note .* no job server has it"):
        client.get_job_status(request)


@pytest.mark.django_db(transaction=True)
def test_background_jobs_go_out_on_commit_where_the_settings_say_so(settings, client, ran):
    settings.GEARMAN_SUBMIT_ON_COMMIT = True
    with transaction.atomic():
        held = jobs.note.do_background(1)
        at_once = jobs.note.using(on_commit=False).do_background(2)
        waited_for = jobs.add.do(1)
        assert (held.state, at_once.state, waited_for) == ("PENDING", "CREATED", 11)
    assert held.state == "CREATED"
    assert jobs.note.do_background(3).state == "CREATED"
    with pytest.raises(RuntimeError), transaction.atomic():
        rolled_back = jobs.note.do_background(4)
        raise RuntimeError
    assert rolled_back.state == "PENDING"


# Servers and threads


def test_making_a_client_connects_to_nothing(settings, production):
    settings.GEARMAN_BACKEND = "gearman"
    client = GearmanClient(host_list=[f"127.0.0.1:{free_port()}"])

    with pytest.raises(ServerUnavailable, match="GEARMAN_SERVERS"):
        client.submit_job("tests.app.echo", 1)


@pytest.mark.parametrize("hosts", ["127.0.0.1:4730", [], ["127.0.0.1:port"], [5], [("h",)]])
def test_wrong_hosts_are_refused_at_once(hosts):
    with pytest.raises(InvalidBackend, match="host_list"):
        GearmanClient(host_list=hosts)


def test_threads_share_a_client(settings, memory, client):
    worker = GearmanWorker()
    thread = threading.Thread(target=worker.work)
    thread.start()
    results: dict[int, int] = {}

    def submit(number: int) -> None:
        results[number] = client.submit_job("tests.app.echo", number, poll_timeout=20).result

    threads = [threading.Thread(target=submit, args=[number]) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    worker.stop()
    thread.join()

    assert results == {number: number for number in range(20)}


def test_settings_are_read_when_used(client):
    with override_settings(GEARMAN_BACKEND="memory", GEARMAN_OPTIONS={"name": "read-when-used"}):
        request = client.submit_job("tests.app.echo", 1, wait_until_complete=False)
        assert not request.complete
    assert client.submit_job("tests.app.echo", 1).complete


# Signals


def test_a_signal_tells_of_each_submission(client):
    told = []

    def receiver(sender, request, **kwargs):
        told.append((sender, request))

    job_submitted.connect(receiver)
    try:
        request = client.submit_job("tests.app.echo", 1)
    finally:
        job_submitted.disconnect(receiver)

    assert told == [(jobs.echo, request)]


def test_a_failing_receiver_changes_nothing(client, caplog):
    def receiver(**kwargs):
        raise RuntimeError("receiver")

    job_submitted.connect(receiver)
    try:
        assert client.submit_job("tests.app.echo", 1).result == 1
    finally:
        job_submitted.disconnect(receiver)
    assert "receiver" in caplog.text


@pytest.mark.gearmand
def test_retries_bridge_a_restart_of_the_server(settings, own_gearmand, client):
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [own_gearmand.address]
    client.submit_job("tests.app.note", 1, background=True)
    own_gearmand.kill()
    starter = threading.Timer(0.3, own_gearmand.start)
    starter.start()

    request = client.submit_job("tests.app.note", 2, background=True, max_retries=20)

    starter.join()
    assert request.state == JOB_CREATED
    wait_until(lambda: own_gearmand.totals()["tests.app.note"][0] == 1, "the job is queued")


# Finished


def test_finished_tells_whether_a_job_has_ended(memory, client, ran):
    waiting = client.submit_job("tests.app.note", 1, wait_until_complete=False)
    failing = client.submit_job("tests.app.fail", "no", wait_until_complete=False)
    queued = client.submit_job("tests.app.note", 2, background=True)
    requests = [waiting, failing, queued]

    assert [request.complete for request in requests] == [False, False, True]
    assert [request.finished for request in requests] == [False, False, False]
    assert not client.get_job_status(queued).finished
    work_off()
    assert not queued.finished  # nobody has asked
    assert client.get_job_status(queued).finished
    for request in (waiting, failing):
        assert client.get_job_status(request).finished
        assert request.wait().finished
    assert client.submit_job("tests.app.note", 3, wait_until_complete=False).finished is False


def test_a_job_that_was_never_queued_has_not_finished(settings, client):
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": "full", "max_queued": 1}
    [first, second] = client.submit_multiple_jobs(
        [{"task": "tests.app.note", "data": n} for n in (1, 2)], background=True
    )

    assert (second.state, second.finished) == ("FAILED", False)
    work_off()
    assert client.get_job_status(first).finished


@pytest.mark.parametrize("background", [True, False])
def test_on_eager_a_job_has_finished_when_it_is_submitted(client, background):
    request = client.submit_job("tests.app.echo", 1, background=background)

    assert client.get_job_status(request).finished

"""The client of a test: it runs jobs honestly, and knows of every submission."""

from __future__ import annotations

import datetime
import threading
import traceback
from decimal import Decimal

import pytest

from django_gearman import (
    JOB_COMPLETE,
    JOB_FAILED,
    GearmanClient,
    JobContext,
    RetryJob,
    gearman_job,
)
from django_gearman.exceptions import (
    JobNotRegistered,
    JobRaised,
    ResultUnavailable,
    SerializationError,
    ServerUnavailable,
)
from django_gearman.testing import RecordingClient, calls, override_gearman, perform_job
from tests.app import gearman_jobs as jobs
from tests.support.transports import on_each_transport


def test_a_job_runs_at_once_and_its_result_is_there(gearman_client):
    request = gearman_client.submit_job("tests.app.add", left=1, right=2)

    assert (request.state, request.result) == (JOB_COMPLETE, 3)
    assert isinstance(gearman_client, GearmanClient)
    assert isinstance(gearman_client, RecordingClient)


def test_it_runs_at_once_whatever_the_settings_say(settings, gearman_client):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = ["production.invalid:4730"]

    assert gearman_client.submit_job("tests.app.add", 1).result == 11
    assert GearmanClient(["other.invalid:4730"]).submit_job("tests.app.add", 1).result == 11


def test_a_submission_is_recorded_with_all_that_was_said(gearman_client):
    later = datetime.timedelta(hours=1)

    jobs.send.using(priority="HIGH", unique="ada").do("ada@example.com", subject="Hi")
    jobs.note.using(run_after=later).do_background([1, (2, 3), Decimal(4)])

    mail, note = gearman_client.submitted
    assert (mail.name, mail.queue, mail.args, mail.kwargs) == (
        "send-mail",
        "mail",
        ["ada@example.com"],
        {"subject": "Hi"},
    )
    assert (mail.priority, mail.unique, mail.background, mail.run_after) == (
        "HIGH",
        "ada",
        False,
        None,
    )
    assert (mail.result, mail.exception, mail.runs) == ("Hi, ada@example.com", None, 1)
    assert (note.args, note.background, note.priority) == ([[1, (2, 3), Decimal(4)]], True, None)
    assert (note.unique, note.run_after, note.runs) == (None, later, 0)


@on_each_transport
def test_updates_of_a_running_job_are_recorded(transport, gearman_client, gearman_worker):
    jobs.report.do_background(2)
    gearman_worker.run()

    [job] = gearman_client.submitted
    assert job.progress == [(1, 2), (2, 2)]
    assert (job.data, job.warnings) == ([{"part": 1}], ["beware"])
    assert job.result == "tests.app.report"


def test_anybodys_submissions_are_recorded_in_their_order(gearman_client, ran):
    @gearman_job(name="outer")
    def outer():
        jobs.note.do_background("inner")
        GearmanClient().submit_job("send-mail", "bob")

    gearman_client.submit_multiple_jobs([{"task": "tests.app.note", "data": n} for n in (1, 2)])
    outer.do()
    thread = threading.Thread(target=lambda: jobs.note.do("from a thread"))
    thread.start()
    thread.join()

    names = [job.name.rpartition(".")[2] for job in gearman_client.submitted]
    assert names == ["note", "note", "outer", "note", "send-mail", "note"]
    assert gearman_client.submitted[-1].args == ["from a thread"]
    assert all(job.finished for job in gearman_client.submitted)


def test_many_threads_lose_nothing(gearman_client):
    def submit(number: int) -> None:
        for n in range(20):
            assert jobs.add.do(number, n) == number + n

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    results = sorted(job.result - sum(job.args) for job in gearman_client.submitted)
    assert results == [0] * 160


# Honest


def test_neither_the_caller_nor_the_job_can_reach_the_others_values(gearman_client):
    seen = []

    @gearman_job(name="append")
    def append(values):
        seen.append(values)
        values.append("by the job")
        return values

    mine = [1]
    result = append.do(mine)
    mine.append("by the caller")
    result.append("to the result")

    [job] = gearman_client.submitted
    assert (mine, job.args, seen) == ([1, "by the caller"], [[1]], [[1, "by the job"]])
    assert job.result == [1, "by the job"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: GearmanClient().submit_job("tests.app.ad", 1), JobNotRegistered),
        (lambda: GearmanClient().submit_job("tests.app.add", wrong=1), TypeError),
        (lambda: jobs.echo.do_background(object()), SerializationError),
        (lambda: jobs.return_lambda.do_background(), SerializationError),
    ],
)
def test_a_call_that_cannot_work_fails_at_its_submission(gearman_client, call, error):
    with pytest.raises(error):
        call()


@on_each_transport
def test_an_exception_of_a_job_reaches_the_test(transport, gearman_client, gearman_worker):
    with pytest.raises(ValueError, match="boom") as raised:
        jobs.fail.do_background("boom")
        gearman_worker.run()

    [job] = gearman_client.submitted
    assert job.exception is raised.value
    assert "raise ValueError(message)" in "".join(traceback.format_exception(raised.value))
    with pytest.raises(ValueError, match="boom"):
        print(job.result)


@on_each_transport
def test_on_request_a_failure_is_what_it_is_in_production(
    transport, gearman_client, gearman_worker
):
    gearman_client.raise_failures = False

    request = gearman_client.submit_job("tests.app.fail", "boom", wait_until_complete=False)
    jobs.fail.do_background("unseen")
    assert gearman_worker.run() == (0 if transport == "eager" else 2)
    request.wait()

    assert request.state == JOB_FAILED
    with pytest.raises(JobRaised, match="ValueError: boom"):
        print(request.result)
    assert [type(job.exception) for job in gearman_client.submitted] == [ValueError, ValueError]


def test_the_other_jobs_of_a_call_run_although_one_fails(gearman_client, ran):
    entries = [
        {"task": "tests.app.fail", "data": "boom"},
        {"task": "tests.app.note", "data": "still"},
    ]

    with pytest.raises(ValueError, match="boom"):
        gearman_client.submit_multiple_jobs(entries)

    assert ran == ["still"]


@pytest.mark.gearman("memory")
def test_the_error_that_is_raised_tells_of_the_others(gearman_worker):
    jobs.fail.do_background("boom")
    jobs.fail.do_background("bang")

    with pytest.raises(ValueError, match="boom") as raised:
        gearman_worker.run()

    [note] = raised.value.__notes__
    assert "ValueError('bang')" in note


def test_a_job_that_leaves_the_program_is_reported(gearman_client):
    with pytest.raises(SystemExit):
        jobs.leave.do()


def test_a_job_that_has_not_run_has_no_result(gearman_client):
    jobs.note.using(run_after=datetime.timedelta(hours=1)).do_background(1)

    [job] = gearman_client.submitted
    with pytest.raises(ResultUnavailable, match="advance"):
        print(job.result)


def test_equal_uniques_are_two_submissions_of_one_job(gearman_client, gearman_worker, ran):
    with override_gearman("memory"):
        for _ in range(2):
            jobs.note.using(unique="same").do_background(1)
        assert gearman_worker.run() == 1

    assert [job.result for job in gearman_client.submitted] == [None, None]
    assert ran == [1]


def test_a_job_of_bytes_is_recorded_as_bytes(gearman_client):
    jobs.reverse_bytes.do(b"\x00\x01")

    [job] = gearman_client.submitted
    assert (job.args, job.result) == ([b"\x00\x01"], b"\x01\x00")


def test_a_signal_handler_of_the_project_sees_jobs_as_ever(gearman_client):
    from django_gearman.signals import job_submitted

    seen = []

    def note(request, **_):
        seen.append(request.state)

    job_submitted.connect(note)
    jobs.add.do(1)
    job_submitted.disconnect(note)

    assert seen == ["CREATED"]


# One job through the whole envelope


def test_a_job_is_performed_with_its_result():
    assert perform_job("tests.app.add", 1, right=2) == 3
    assert perform_job(jobs.echo, {"a": (1, Decimal(2))}) == {"a": (1, Decimal(2))}


def test_performing_is_not_a_submission_but_what_the_job_submits_is(gearman_client):
    assert perform_job(jobs.submit_another, 5) == 5

    gearman_client.assert_submitted("tests.app.echo", 5, times=1)
    assert len(gearman_client.submitted) == 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: perform_job("tests.app.fail", "boom"), ValueError),
        (lambda: perform_job("tests.app.nope"), JobNotRegistered),
        (lambda: perform_job("tests.app.add", wrong=1), TypeError),
        (lambda: perform_job("tests.app.echo", object()), SerializationError),
        (lambda: perform_job("tests.app.return_lambda"), SerializationError),
        (lambda: perform_job("tests.app.try_again", 3), RetryJob),
        (lambda: perform_job(len), TypeError),
    ],
)
def test_performing_raises_what_goes_wrong(call, error):
    with pytest.raises(error):
        call()


def test_a_performed_job_has_a_context():
    @gearman_job(name="context", takes_context=True)
    def context_of(context: JobContext):
        context.set_status(1, 2)
        return [context.name, context.queue, context.attempt]

    assert perform_job(context_of) == ["context", "default", 1]


@pytest.mark.gearman("memory")
def test_a_job_is_performed_at_once_whatever_the_transport():
    assert perform_job(jobs.add, 1) == 11


# Jobs that submit jobs


def test_an_exception_of_a_child_stops_neither_its_parent_nor_its_siblings(gearman_client, ran):
    @gearman_job(name="parent")
    def parent(number):
        (jobs.fail if number == 2 else jobs.note).do_background(number)
        ran.append(f"parent {number}")
        return number

    with pytest.raises(ValueError, match="2"):
        parent.map([1, 2, 3])

    assert ran == ["parent 1", "parent 2", "parent 3", 1, 3]
    assert [job.failed for job in gearman_client.submitted] == [False] * 4 + [True, False]


def test_a_job_that_another_one_waits_for_runs_before_its_siblings(gearman_client, ran):
    @gearman_job(name="waits")
    def waits(number):
        jobs.note.do(f"for {number}")
        ran.append(number)

    waits.map([1, 2])

    assert ran == ["for 1", 1, "for 2", 2]


def test_a_job_that_handles_an_error_does_not_fail(gearman_client):
    @gearman_job(name="careful")
    def careful():
        for attempt in (lambda: perform_job(jobs.fail, "boom"), lambda: jobs.fail.do("boom")):
            with pytest.raises(ValueError, match="boom"):
                attempt()
        return "handled"

    assert careful.do() == "handled"


def test_an_error_of_a_job_is_not_taken_for_one_of_the_transport(gearman_client, ran):
    @gearman_job(name="unlucky")
    def unlucky():
        ran.append("ran")
        raise ServerUnavailable("of the job's own")

    for submit in (unlucky.using(resubmit=2).do, unlucky.using(resubmit=2).do_background):
        with pytest.raises(ServerUnavailable, match="of the job's own"):
            submit()

    assert ran == ["ran", "ran"]


def test_a_long_chain_of_jobs_is_not_recursion(gearman_client):
    @gearman_job(name="next-page")
    def next_page(number):
        if number:
            next_page.do_background(number - 1)

    next_page.do_background(3000)

    assert len(gearman_client.submitted) == 3001


@pytest.mark.parametrize("transport", ["eager", "memory"])
def test_a_job_that_never_ends_to_submit_itself_is_caught(transport, gearman_worker, monkeypatch):
    monkeypatch.setattr(calls, "_MOST_JOBS", 100)

    @gearman_job(name="forever")
    def forever():
        forever.do_background()

    with (
        override_gearman(transport),
        pytest.raises(AssertionError, match=r"100 jobs have run.*forever.*limit="),
    ):
        forever.do_background()
        gearman_worker.run()


def test_an_exception_that_is_false_is_one(gearman_client):
    class Nothing(Exception):
        def __len__(self):
            return 0

    @gearman_job(name="nothing-raised")
    def raises():
        raise Nothing

    gearman_client.raise_failures = False
    raises.do_background()

    assert isinstance(gearman_client.submitted[0].exception, Nothing)


def test_a_record_cannot_be_changed(gearman_client):
    jobs.echo.do_background([1])
    [job] = gearman_client.submitted

    job.args[0].append(2)
    job.kwargs["value"] = 3

    gearman_client.assert_submitted(jobs.echo, [1])
    assert repr(job) == "<SubmittedJob tests.app.echo([1]) queue=default finished>"

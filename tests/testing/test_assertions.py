"""Assertions about submissions, and their messages when they fail."""

from __future__ import annotations

import datetime
import re
from unittest.mock import ANY

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_gearman import gearman_job
from django_gearman.testing import capture_jobs
from tests.app import gearman_jobs as jobs

HOUR = datetime.timedelta(hours=1)


def complaint(assertion, *args, **kwargs) -> str:
    with pytest.raises(AssertionError) as raised:
        assertion(*args, **kwargs)
    return str(raised.value)


# What matches


@pytest.mark.parametrize(
    "submit",
    [
        lambda: jobs.add.do_background(1, 10),
        lambda: jobs.add.do_background(1),
        lambda: jobs.add.do_background(left=1),
        lambda: jobs.add.do_background(right=10, left=1),
    ],
)
def test_a_call_is_the_same_however_it_is_written(gearman_client, submit):
    submit()

    for job in (jobs.add, "tests.app.add", jobs.add.using(priority="LOW")):
        assert gearman_client.assert_submitted(job, 1) is gearman_client.submitted[0]
    gearman_client.assert_submitted("tests.app.add", 1, right=10)
    gearman_client.assert_submitted("tests.app.add", left=1, right=10)
    gearman_client.assert_submitted("tests.app.add", args=[1], kwargs={"right": 10})
    gearman_client.assert_submitted("tests.app.add", ANY, right=ANY)
    gearman_client.assert_submitted("tests.app.add")
    gearman_client.assert_submitted()
    gearman_client.assert_not_submitted("tests.app.add", 2)
    gearman_client.assert_not_submitted("tests.app.add", 1, 11)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.binary()
        | st.decimals(allow_nan=False),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_each_submission_is_found(gearman_client, value):
    with capture_jobs() as captured:
        jobs.echo.do_background(value)

    assert captured.assert_submitted(jobs.echo, value, times=1).result == value


def test_arguments_named_like_options_are_reached_by_kwargs(gearman_client):
    @gearman_job(name="clash")
    def clash(queue, times=1, **more):
        return queue

    clash.do_background("q", times=2, background="b", args="a")

    gearman_client.assert_submitted(
        "clash", kwargs={"queue": "q", "times": 2, "background": "b", "args": "a"}
    )
    gearman_client.assert_submitted(clash, background=True)
    gearman_client.assert_not_submitted(clash, kwargs={"queue": "other"})


def test_an_empty_list_means_no_arguments(gearman_client):
    jobs.nothing.do_background()

    gearman_client.assert_submitted(jobs.nothing, args=[])
    gearman_client.stub("php.pdf", returns=b"")
    gearman_client.submit_job("php.pdf", 1, background=True)
    gearman_client.assert_submitted("php.pdf")
    gearman_client.assert_submitted("php.pdf", 1)
    gearman_client.assert_not_submitted("php.pdf", args=[])


def test_options_are_compared_when_given(gearman_client):
    jobs.send.using(priority="HIGH", unique="ada").do("ada")
    jobs.send.do_background("bob")
    jobs.send.using(unique="-").do_background("eve")

    gearman_client.assert_submitted(jobs.send, "eve", unique="-")
    gearman_client.assert_submitted(jobs.send, "eve", unique=True)
    gearman_client.assert_submitted(queue="mail", priority="HIGH", unique="ada", background=False)
    gearman_client.assert_submitted("send-mail", priority=None, unique=None, background=True)
    gearman_client.assert_submitted("send-mail", times=3)
    gearman_client.assert_not_submitted(priority="LOW")
    gearman_client.assert_not_submitted("send-mail", "bob", background=False)
    gearman_client.assert_not_submitted(queue="other")


def test_a_delay_is_the_same_as_a_time(gearman_client):
    jobs.note.using(run_after=HOUR).do_background(1)
    jobs.note.do_background(2)

    gearman_client.assert_submitted(jobs.note, 1, run_after=HOUR)
    gearman_client.assert_submitted(jobs.note, 1, run_after=timezone.now() + HOUR)
    gearman_client.assert_submitted(jobs.note, 2, run_after=None)
    gearman_client.assert_not_submitted(jobs.note, 1, run_after=HOUR * 2)
    gearman_client.assert_not_submitted(jobs.note, 2, run_after=HOUR)


def test_order_is_asserted_with_or_without_others_between(gearman_client):
    jobs.nothing.do_background()
    jobs.note.do_background(1)
    jobs.send.do_background("ada")

    found = gearman_client.assert_submitted_in_order("tests.app.nothing", jobs.send)

    assert [job.name for job in found] == ["tests.app.nothing", "send-mail"]
    gearman_client.assert_submitted_in_order((jobs.note, 1), (jobs.send, "ada"))
    with pytest.raises(AssertionError, match=r"note\(2\) was not submitted after"):
        gearman_client.assert_submitted_in_order(jobs.nothing, (jobs.note, 2))
    with pytest.raises(TypeError, match="which jobs"):
        gearman_client.assert_submitted_in_order()
    assert complaint(gearman_client.assert_submitted_in_order, jobs.send, jobs.note) == (
        "tests.app.note(...) was not submitted after send-mail\n"
        "Submitted were, in their order:\n"
        "  1. tests.app.nothing()  queue='default'  background=True\n"
        "  2. tests.app.note(1)  queue='default'  background=True\n"
        "  3. send-mail('ada')  queue='mail'  background=True"
    )


# Messages


def test_a_failure_lists_what_was_submitted_nearest_first(gearman_client):
    jobs.note.do_background(1)
    jobs.send.using(priority="HIGH").do("ada")
    jobs.send.do_background("bob", subject="Hi")

    message = complaint(gearman_client.assert_submitted, "send-mail", "bob", background=True)

    assert message == (
        "send-mail('bob')  background=True was not submitted\n"
        "Submitted were, nearest first:\n"
        "  1. send-mail('bob', subject='Hi')  queue='mail'  background=True\n"
        "       subject is 'Hi', not 'Hello'\n"
        "  2. send-mail('ada')  queue='mail'  background=False  priority='HIGH'\n"
        "       to is 'ada', not 'bob'\n"
        "       background is False, not True\n"
        "  3. tests.app.note(1)  queue='default'  background=True\n"
        "       it is tests.app.note, not send-mail"
    )


def test_a_failure_tells_how_often(gearman_client):
    for _ in range(2):
        jobs.note.do_background(1)

    message = complaint(gearman_client.assert_submitted, jobs.note, times=1)

    assert message.startswith("tests.app.note(...) was submitted 2 times, not once\n")


def test_a_failure_without_submissions_says_so(gearman_client):
    message = complaint(gearman_client.assert_submitted, jobs.note)

    assert message == "tests.app.note(...) was not submitted\nNothing was submitted."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tests.app.ecko"], "did you mean 'tests.app.echo'"),
        (["send-mail", 1, 2], re.escape("job send-mail(to: 'str', *, subject: 'str' = 'Hello')")),
    ],
)
def test_a_job_that_can_never_be_submitted_is_reported_either_way(
    gearman_client, arguments, message
):
    assert re.search(message, complaint(gearman_client.assert_submitted, *arguments))
    assert re.search(message, complaint(gearman_client.assert_not_submitted, *arguments))


def test_an_unexpected_submission_is_shown(gearman_client):
    jobs.note.do_background(1)

    message = complaint(gearman_client.assert_not_submitted, queue="default")
    assert message == (
        "tests.app.note(1)  queue='default'  background=True was submitted, and should not be\n"
        "Submitted was:\n"
        "  1. tests.app.note(1)  queue='default'  background=True"
    )
    assert "tests.app.note(1)" in complaint(gearman_client.assert_nothing_submitted)


def test_nothing_is_nothing(gearman_client):
    gearman_client.assert_nothing_submitted()


def test_long_values_and_lists_are_cut(gearman_client):
    for number in range(510):
        jobs.note.do_background("x" * 1000 + str(number))

    message = complaint(gearman_client.assert_submitted, jobs.add)

    assert "... and 10 more" in message
    assert max(map(len, message.splitlines())) < 400


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"times": 0}, ValueError, "assert_not_submitted"),
        ({"priority": "urgent"}, ValueError, "PRIORITY_HIGH"),
        ({"args": 5}, TypeError, "args"),
        ({"kwargs": 5}, TypeError, "kwargs"),
    ],
)
def test_a_wrong_assertion_is_an_error(gearman_client, options, error, message):
    with pytest.raises(error, match=message):
        gearman_client.assert_submitted("tests.app.note", **options)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["tests.app.note"], {"times": 1}, "takes no times="),
        ([], {"queu": "mail"}, "of which job"),
        ([None, 1], {}, "of which job"),
        ([], {"queue": ["mail"]}, "queue"),
        ([], {"background": "no"}, "background"),
        ([], {"unique": 5}, "unique"),
        ([], {"run_after": 60}, "run_after"),
    ],
)
def test_an_expectation_that_nothing_can_meet_is_an_error(
    gearman_client, arguments, options, message
):
    with pytest.raises(TypeError, match=message):
        gearman_client.assert_not_submitted(*arguments, **options)


def test_options_may_be_anything_too(gearman_client):
    jobs.note.using(unique="u").do_background(1)

    gearman_client.assert_submitted(queue=ANY, unique=ANY, priority=ANY, background=ANY)


@pytest.mark.parametrize("job", [5, len])
def test_an_object_that_is_not_a_job_cannot_be_asserted(gearman_client, job):
    with pytest.raises(TypeError, match="a task is a job's name"):
        gearman_client.assert_submitted(job)


# Routing


def test_routes_are_asserted(gearman_client, settings):
    settings.GEARMAN_WORKERS = ["-w 5"]
    gearman_client.assert_routed()

    settings.GEARMAN_WORKERS = ["-q default"]
    message = complaint(gearman_client.assert_routed)
    assert "job send-mail -> queue mail: no worker serves it; workers serve: default" in message

    settings.GEARMAN_WORKERS = None
    assert "GEARMAN_WORKERS is not set" in complaint(gearman_client.assert_routed)

"""Options of `using()`: one name, one meaning, and none without an effect."""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import re
import warnings

import pytest

from django_gearman import GearmanClient
from django_gearman.jobs.options import Options
from tests.app import gearman_jobs as jobs

SOON = datetime.timedelta(seconds=1)


def test_wait_and_resubmit_are_the_names():
    options = jobs.add.using(wait=5, resubmit=2).options

    assert (options.wait, options.resubmit) == (5, 2)
    assert jobs.add.using(wait=5, resubmit=2).do(1) == 11
    request = GearmanClient().using(wait=5, resubmit=2).submit_job(jobs.add, 1)
    assert request.max_connection_attempts == 3


@pytest.mark.parametrize("subject", [jobs.add, GearmanClient()], ids=["job", "client"])
def test_the_options_are_shown_by_name(subject):
    named = {
        name
        for name, parameter in inspect.signature(subject.using).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }

    assert named == {field.name for field in dataclasses.fields(Options)}


def test_a_copy_is_changed_and_the_original_is_not():
    client = GearmanClient()

    changed = client.using(wait=5).using(priority="LOW", wait=None)

    assert (changed.options.wait, changed.options.priority) == (5, "LOW")
    assert client.options == Options()


def test_the_copy_of_a_tests_client_still_knows_the_jobs(gearman_client):
    gearman_client.using(unique="x").submit_job(jobs.add, 1)

    [job] = gearman_client.using(wait=1).submitted
    assert (job.name, job.unique) == ("tests.app.add", "x")


def test_an_unknown_option_without_a_value_is_an_error_too():
    with pytest.raises(TypeError, match="did you mean 'unique'"):
        jobs.add.using(uniqe=None)


@pytest.mark.parametrize("subject", [jobs.add, GearmanClient()], ids=["job", "client"])
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("timeout", "wait", "@gearman_job(timeout=...)"), ("max_retries", "resubmit", "resubmit")],
)
def test_the_old_names_keep_working(subject, old, new, says):
    with pytest.warns(DeprecationWarning, match=re.escape(says)) as caught:
        changed = subject.using(**{old: 2})

    assert getattr(changed.options, new) == 2
    [warning] = caught
    assert warning.filename == __file__
    with pytest.raises(TypeError, match=f"{old} is the old name of {new}"):
        subject.using(**{old: 2, new: 3})


def test_pythongearmans_parameters_keep_their_names():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = GearmanClient()
        client.submit_job(jobs.add, 1, max_retries=2, poll_timeout=5)
        client.submit_job(jobs.add, 1, background=True, max_retries=2, poll_timeout=5)
        client.dispatch_background_task(jobs.add, 1, poll_timeout=5)
        client.submit_multiple_jobs([{"task": jobs.add, "data": 1}], poll_timeout=5)

    for parameter in ("max_retries", "poll_timeout"):
        with pytest.raises(TypeError, match=f"^{parameter} is a"):
            client.submit_job(jobs.add, 1, **{parameter: "x"})


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"retries": 3}, r"declared on the job: @gearman_job\(retries=3\).*using\(resubmit="),
        ({"queue": "mail"}, r"declared on the job: @gearman_job\(queue='mail'\)"),
        ({"backoff": 3}, "declared on the job"),
        ({"poll_timeout": 3}, "did you mean 'wait'"),
        ({"countdown": 3}, "did you mean 'run_after'"),
        ({"uniqe": "x"}, "did you mean 'unique'"),
        ({"colour": "x"}, "it has priority, unique, wait, run_after"),
    ],
)
def test_an_unknown_option_says_what_is_meant(option, says):
    for subject in (jobs.add, GearmanClient()):
        with pytest.raises(TypeError, match=says):
            subject.using(**option)


def test_an_option_among_the_arguments_is_pointed_out():
    with pytest.raises(TypeError, match=r"given before: using\(wait=\.\.\.\)"):
        jobs.add.do(1, timeout=3)
    with pytest.raises(TypeError, match=r"given before: using\(wait=\.\.\.\)"):
        jobs.add.do(1, wait=3)


BACKGROUND = {
    "do_background": lambda job: job.do_background(1),
    "submit": lambda job: GearmanClient().submit_job(job, 1, background=True),
    "dispatch": lambda job: GearmanClient().dispatch_background_task(job, 1),
    "multiple": lambda job: GearmanClient().submit_multiple_jobs(
        [{"task": job, "data": 1}], background=True
    ),
}
FOREGROUND = {
    "do": lambda job: job.do(1),
    "map": lambda job: job.map([1]),
    "submit": lambda job: GearmanClient().submit_job(job, 1),
    "later": lambda job: GearmanClient().submit_job(job, 1, wait_until_complete=False),
    "multiple": lambda job: GearmanClient().submit_multiple_jobs([{"task": job, "data": 1}]),
}


@pytest.mark.parametrize("submit", BACKGROUND.values(), ids=BACKGROUND)
def test_options_without_effect_in_the_background_are_refused(submit, ran):
    with pytest.raises(ValueError, match=r"wait=3 has no effect on a background job"):
        submit(jobs.note.using(wait=3))
    with pytest.raises(ValueError, match="on_commit_failure has no effect without on_commit"):
        submit(jobs.note.using(on_commit_failure="raise"))
    assert ran == []
    submit(jobs.note.using(resubmit=2, priority="LOW", unique="x"))
    assert ran == [1]


@pytest.mark.parametrize("submit", FOREGROUND.values(), ids=FOREGROUND)
def test_options_without_effect_in_the_foreground_are_refused(submit, ran):
    for options in ({"run_after": SOON}, {"on_commit": True}, {"on_commit_failure": "raise"}):
        with pytest.raises(ValueError, match="is for background jobs"):
            submit(jobs.note.using(**options))
    assert ran == []


def test_a_client_refuses_alike():
    client = GearmanClient().using(wait=3)

    assert client.submit_job(jobs.add, 1).result == 11
    with pytest.raises(ValueError, match="wait=3 has no effect on a background job"):
        client.submit_job(jobs.add, 1, background=True)
    with pytest.raises(ValueError, match=r"wait_until_complete=False: .*request\.wait\(\)"):
        client.submit_job(jobs.add, 1, wait_until_complete=False)


def test_one_unique_for_many_jobs_is_refused(ran):
    with pytest.raises(
        ValueError, match=r"unique='x' would make one job of all 2: use unique=True"
    ):
        jobs.note.using(unique="x").map([1, 2])
    with pytest.raises(ValueError, match="unique='x'"):
        GearmanClient().using(unique="x").submit_multiple_jobs(
            [{"task": jobs.note, "data": 1}, {"task": jobs.note, "data": 2}]
        )
    assert ran == []
    jobs.note.using(unique=True).map([1, 2])
    jobs.note.using(unique="x").map([3])
    GearmanClient().submit_multiple_jobs(
        [{"task": jobs.note, "data": n, "unique": "x"} for n in (4, 5)]
    )
    assert ran == [1, 2, 3, 4], "each entry says its own unique, and 4 and 5 are one job"


def test_a_call_here_has_no_options():
    with pytest.raises(TypeError, match=r"called here, .* write \.do\(\.\.\.\) or \.do_background"):
        jobs.add.using(wait=3)(1)
    assert jobs.add(1) == 11


@pytest.mark.gearman("memory")
def test_a_clients_wait_holds_for_all_that_it_waits_for():
    client = GearmanClient()
    request = client.submit_job(jobs.add, 1, wait_until_complete=False)

    client.using(wait=0.05).wait_until_jobs_completed([request])

    assert request.timed_out

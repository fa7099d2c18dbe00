"""When a job is sent: at once, later, or when the transaction commits."""

from __future__ import annotations

import datetime

import pytest
from django.db import transaction

from django_gearman import JOB_CREATED, JOB_PENDING
from django_gearman.backends import get_backend
from django_gearman.exceptions import ResultUnavailable
from tests.app import gearman_jobs as jobs
from tests.support.workers import work_off


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

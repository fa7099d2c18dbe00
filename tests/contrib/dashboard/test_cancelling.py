"""Cancelling jobs from their page and from a list."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from django_gearman.contrib.store.models import JobRecord
from tests.contrib import gearman_jobs as jobs
from tests.contrib.dashboard.test_actions import post, press, texts, title
from tests.contrib.dashboard.test_failures import get, text_of
from tests.contrib.store.recorded import failed, recorded

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]
Status = JobRecord.Status


@pytest.fixture
def operator(staff):
    """Return the browser of somebody who may cancel jobs."""
    return staff("view_jobrecord", "cancel_jobrecord", name="operator")


def test_a_waiting_job_is_cancelled_from_its_page_and_never_runs(operator, gearman_worker, has_run):
    request = jobs.double.do_background(1)
    page = operator.get(reverse("admin:gearman_job", args=[request.id]))

    question = press(operator, page, "cancel:selected")
    answer = press(operator, question)
    gearman_worker.run()

    assert title(question) == "Cancel 1 job?"
    assert texts(answer) == ["1 job cancelled."]
    assert has_run == []
    assert JobRecord.objects.get().status == Status.CANCELLED
    assert LogEntry.objects.get().object_repr == f"tests.contrib.double {request.id}"
    assert "Cancelled" in text_of(get(operator, "job", request.id))


def test_a_selection_is_cancelled_and_the_rest_runs(operator, gearman_worker, has_run):
    ids = [jobs.double.do_background(number).id for number in range(3)]
    page = get(operator, "list", status="READY")

    answer = press(operator, post(operator, "cancel:selected", id=ids[:2], status="READY"))
    gearman_worker.run()

    assert "Cancel selected" in page
    assert "cancel:all" not in page
    assert texts(answer) == ["2 jobs cancelled."]
    assert has_run == [2]


def test_a_job_that_runs_by_now_is_cancelled_too(operator):
    record = recorded()
    question = post(operator, "cancel:selected", id=record.pk, status="READY")
    JobRecord.objects.update(status=Status.RUNNING, last_attempted_at=timezone.now())

    answer = press(operator, question)

    assert texts(answer) == ["1 job cancelled.", "1 was running, and will end in a moment."]
    assert JobRecord.objects.get().cancelled_at is not None
    assert "Attempt 1 is being cancelled" in get(operator, "job", record.pk)


def test_a_job_that_has_ended_meanwhile_is_left_alone(operator, gearman_worker, has_run):
    request = jobs.double.do_background(1)
    question = post(operator, "cancel:selected", id=request.id, status="READY")
    gearman_worker.run()

    answer = press(operator, question)

    assert texts(answer) == ["No job cancelled. 1 was left alone: ended or cancelled before."]
    assert has_run == [1]
    assert not LogEntry.objects.exists()


def test_two_people_cancel_a_job_once(operator, staff):
    record = recorded()
    other = staff("view_jobrecord", "cancel_jobrecord", name="other")
    fields = {"id": record.pk, "status": "READY"}
    questions = [(each, post(each, "cancel:selected", **fields)) for each in (operator, other)]

    answers = [texts(press(browser, question)) for browser, question in questions]

    assert answers[0] == ["1 job cancelled."]
    assert answers[1][0].startswith("No job cancelled. 1 was left alone")
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"act": "cancel:all", "status": "READY"},
        {"act": "cancel:selected", "status": "FAILED"},
        {"act": "cancel:selected", "status": "SUCCESSFUL"},
    ],
    ids=str,
)
def test_a_forged_form_is_refused(operator, fields):
    record = recorded()
    form = {**fields, "id": record.pk, "confirmed": "yes"}

    response = operator.post(reverse("admin:gearman_act"), form)

    assert response.status_code == 400
    assert JobRecord.objects.get().status == Status.READY


def test_failed_and_unknown_jobs_are_not_cancelled(operator):
    record = failed()

    for job_id in (record.pk, "nope", "\0", "x" * 500):
        question = post(operator, "cancel:selected", id=job_id, status="READY")
        assert title(question) == "No job is left"
        post(operator, "cancel:selected", id=job_id, status="READY", confirmed="yes")
    assert JobRecord.objects.get().status == Status.FAILED


def test_cancelling_needs_its_own_permission(staff):
    record = recorded()
    browser = staff("view_jobrecord", "retry_jobrecord", "discard_jobrecord")

    response = post(browser, "cancel:selected", id=record.pk, status="READY", confirmed="yes")

    assert response.status_code == 403
    assert 'name="act"' not in get(browser, "job", record.pk)
    assert JobRecord.objects.get().status == Status.READY

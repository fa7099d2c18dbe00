"""Retry and discard: for one job, a selection, a group, a filter."""

from __future__ import annotations

import datetime
import html
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import DatabaseError, connections
from django.urls import reverse
from django.utils import timezone

from django_gearman.contrib.dashboard import acting
from django_gearman.contrib.store import actions, writing
from django_gearman.contrib.store.models import JobRecord, OutboxJob
from tests.contrib import gearman_jobs as jobs
from tests.contrib.store.recorded import failed, recorded

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]
Status = JobRecord.Status
ALL = ("view_jobrecord", "retry_jobrecord", "discard_jobrecord")


@pytest.fixture
def operator(staff):
    """Return the browser of somebody who may retry and discard."""
    return staff(*ALL, name="operator")


@pytest.fixture
def fail(gearman_worker, has_run):
    """Return a function that lets jobs fail, and returns their ids."""

    def submit(*messages: str) -> list[str]:
        requests = [jobs.fail.do_background(message) for message in messages]
        gearman_worker.run()
        has_run.clear()
        return [request.id for request in requests]

    return submit


def post(browser, act, **fields):
    return browser.post(reverse("admin:gearman_act"), {"act": act, **fields})


def press(browser, response, act=None):
    """Press the button of a page with a form, as a browser without JavaScript does."""
    page = html.unescape(response.content.decode().partition("<main")[2])
    form = page.partition(f'action="{reverse("admin:gearman_act")}"')[2].partition("</form>")[0]
    data: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form):
        data.setdefault(name, []).append(value)
    buttons = re.findall(r'name="act" value="([^"]*)"', form)
    assert buttons, f"there is no button in the page: {page}"
    assert act is None or act in buttons
    return browser.post(reverse("admin:gearman_act"), {**data, "act": act or buttons[0]})


def texts(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def title(response):
    return re.search(r"<h1>(.*?)</h1>", response.content.decode())[1]


def test_one_job_is_retried_from_its_page(operator, fail, gearman_worker, has_run):
    [job_id] = fail("one")
    page = operator.get(reverse("admin:gearman_job", args=[job_id]))

    question = press(operator, page, "retry:selected")
    before = JobRecord.objects.get().status
    answer = press(operator, question)
    gearman_worker.run()

    assert title(question) == "Run again 1 job?"
    assert before == Status.FAILED
    assert answer["Location"] == reverse("admin:gearman_job", args=[job_id])
    assert texts(answer) == ["1 job retried."]
    assert has_run == ["one"]


def test_a_selection_is_retried_and_the_rest_is_left(operator, fail, gearman_worker, has_run):
    first, second, _ = fail("1", "2", "3")
    back = reverse("admin:gearman_list") + "?job=tests.contrib.fail"

    question = post(operator, "retry:selected", id=[first, second], back=back)
    answer = press(operator, question)
    gearman_worker.run()

    assert title(question) == "Run again 2 jobs?"
    assert first in question.content.decode()
    assert answer["Location"] == back
    assert sorted(has_run) == ["1", "2"]


def test_a_group_is_discarded_from_the_groups(operator, fail):
    fail("1", "2")
    failed("shop.pay", "OSError")
    page = operator.get(reverse("admin:gearman_failures"), {"since": "24h"})

    question = press(operator, page, "discard:all")
    answer = press(operator, question)

    assert title(question) == "Discard 2 jobs?"
    assert "deleted for good" in question.content.decode()
    assert answer["Location"] == reverse("admin:gearman_failures") + "?since=24h"
    assert texts(answer) == ["2 jobs discarded."]
    assert [record.name for record in JobRecord.objects.all()] == ["shop.pay"]


def test_all_jobs_of_a_filter_are_discarded(operator):
    for number in range(60):
        failed("shop.pay", ago=number)
    kept = [failed("shop.send"), recorded("shop.pay")]
    page = operator.get(reverse("admin:gearman_list"), {"job": "shop.pay"})

    question = press(operator, page, "discard:all")
    answer = press(operator, question)

    assert "Discard all 60" in page.content.decode()
    assert title(question) == "Discard 60 jobs?"
    assert "job: <strong>shop.pay</strong>" in question.content.decode()
    assert texts(answer) == ["60 jobs discarded."]
    assert {*JobRecord.objects.all()} == {*kept}


def test_jobs_that_fail_after_the_question_are_left_alone(operator):
    asked = failed("shop.pay", ago=30)
    question = post(operator, "discard:all", job="shop.pay")
    later = failed("shop.pay", ago=0)
    JobRecord.objects.filter(pk=later.pk).update(finished_at=timezone.now())

    answer = press(operator, question)

    assert "Jobs that fail later are left alone." in question.content.decode()
    assert texts(answer) == ["1 job discarded."]
    assert [record.pk for record in JobRecord.objects.all()] == [later.pk]
    assert asked.pk != later.pk


def test_the_period_of_a_filter_does_not_move_on_between_question_and_answer(operator, monkeypatch):
    failed("shop.pay", ago=3590)
    question = post(operator, "discard:all", since="1h")
    later = timezone.now() + datetime.timedelta(seconds=60)
    monkeypatch.setattr(timezone, "now", lambda: later)

    answer = press(operator, question)

    assert texts(answer) == ["1 job discarded."]


def test_the_answer_states_what_has_changed_meanwhile(operator, fail):
    ids = fail(*"123456")
    question = post(operator, "retry:selected", id=ids)
    rows = JobRecord.objects
    rows.filter(pk=ids[0]).update(status=Status.RUNNING)
    rows.filter(pk=ids[1]).update(status=Status.SUCCESSFUL)
    rows.filter(pk=ids[2]).delete()
    rows.filter(pk=ids[3]).update(finished_at=timezone.now() + datetime.timedelta(seconds=1))

    [text] = texts(press(operator, question))

    assert text.startswith("2 jobs retried.")
    assert "1 was left alone: already running." in text
    assert "1 was left alone: successful by now." in text
    assert "1 was left alone: failed again meanwhile." in text
    assert "1 was left alone: no longer there." in text


@pytest.mark.parametrize("act", ["retry:selected", "retry:all"])
def test_pressing_twice_and_two_people_at_once_are_one_run(
    operator, staff, fail, gearman_worker, has_run, act
):
    ids = fail("1", "2")
    other = staff(*ALL, name="other")
    questions = [post(browser, act, id=ids) for browser in (operator, other)]

    answers = [press(operator, questions[0]), press(operator, questions[0])]
    answers.append(press(other, questions[1]))
    gearman_worker.run()
    again = press(operator, questions[0])  # they have failed again
    gearman_worker.run()

    assert sorted(has_run) == ["1", "2"]
    assert texts(answers[0]) == ["2 jobs retried."]
    for answer in (*answers[1:], again):
        assert texts(answer)[-1].startswith("No job retried. 2 were left alone: ")
    assert LogEntry.objects.count() == 1


def test_each_action_is_one_entry_of_the_admins_log(operator, fail):
    ids = fail("1", "2", "3")
    press(operator, post(operator, "retry:selected", id=ids[:1]))
    press(operator, post(operator, "discard:all", exception="ValueError"))

    one, many = LogEntry.objects.order_by("pk")
    assert (one.user.username, one.object_id, one.object_repr) == (
        "operator",
        ids[0],
        f"tests.contrib.fail {ids[0]}",
    )
    assert one.change_message == "Retry: 1 job"
    assert (many.object_id, many.object_repr) == (None, "2 jobs")
    assert many.change_message.startswith("Discard: 2 jobs with exception ValueError, until 20")
    index = operator.get(reverse("admin:index"))
    assert "2 jobs" in index.content.decode()


def test_a_viewer_sees_no_button_and_cannot_act(viewer, fail):
    [job_id] = fail("1")

    for page in (
        viewer.get(reverse("admin:gearman_failures")),
        viewer.get(reverse("admin:gearman_list")),
        viewer.get(reverse("admin:gearman_job", args=[job_id])),
    ):
        main = page.content.decode().partition("<main")[2]
        assert 'name="act"' not in main
        assert "checkbox" not in main
    for act in ("retry:selected", "discard:all"):
        assert post(viewer, act, id=job_id, confirmed="yes").status_code == 403
    assert JobRecord.objects.get().status == Status.FAILED
    assert not LogEntry.objects.exists()


def test_each_action_needs_its_own_permission(staff, fail):
    fail("1")
    retries = staff("view_jobrecord", "retry_jobrecord", name="retries")
    blind = staff("retry_jobrecord", name="blind")

    page = retries.get(reverse("admin:gearman_list")).content.decode()

    assert "retry:all" in page
    assert "discard" not in page.partition("<main")[2]
    assert post(retries, "discard:all", confirmed="yes").status_code == 403
    assert post(blind, "retry:all", confirmed="yes").status_code == 403


def test_an_action_needs_a_csrf_token_and_a_post(staff, fail):
    fail("1")
    browser = staff(*ALL, enforce_csrf_checks=True)

    assert post(browser, "discard:all", confirmed="yes").status_code == 403
    assert browser.get(reverse("admin:gearman_act")).status_code == 405
    assert JobRecord.objects.count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"act": ""},
        {"act": "retry"},
        {"act": "retry:some"},
        {"act": "explode:all"},
        {"act": "retry:all", "status": "READY"},
        {"act": "retry:all", "status": "LOST"},
        {"act": "retry:all", "since": "soon"},
        {"act": "retry:all", "until": "0001-01-01"},
        {"act": "retry:all", "job": "x" * 1000},
    ],
    ids=str,
)
def test_a_forged_form_is_refused(operator, fields):
    failed()

    response = operator.post(reverse("admin:gearman_act"), {**fields, "confirmed": "yes"})

    assert response.status_code == 400
    assert not OutboxJob.objects.exists()


@pytest.mark.parametrize("stated", ["", "x", "-1", "9" * 30, "\u00b2"])
def test_a_forged_number_changes_nothing(operator, stated):
    failed()

    answer = post(operator, "discard:all", confirmed="yes", stated=stated)

    assert texts(answer) == ["1 job discarded."]


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        "/admin/",
        "x",
        "/\\evil",
        "",
    ],
)
def test_an_action_leads_back_to_these_pages_only(operator, back):
    failed()

    answer = post(operator, "discard:all", confirmed="yes", back=back)

    assert answer["Location"] == reverse("admin:gearman_failures")


def test_nothing_selected_is_not_an_action(operator, fail):
    fail("1")
    answer = post(operator, "retry:selected")

    assert texts(answer) == ["Select at least one job."]
    assert JobRecord.objects.get().status == Status.FAILED


def test_a_question_without_jobs_has_no_button(operator):
    for question in (
        post(operator, "retry:all", job="none"),
        post(operator, "retry:selected", id="nope"),
    ):
        assert title(question) == "No job is left"
        assert 'name="confirmed"' not in question.content.decode()


def test_a_job_without_arguments_is_refused_with_the_reason(operator, gearman_worker):
    jobs.keeps_no_arguments.do_background("Ada")
    gearman_worker.run()

    answer = press(operator, post(operator, "retry:all"))

    assert texts(answer)[0] == "No job retried."
    assert "1 was refused" in texts(answer)[1]
    assert "sensitive=True" in texts(answer)[1]
    assert JobRecord.objects.get().status == Status.FAILED


def test_jobs_wait_in_the_outbox_while_no_server_takes_them(operator, fail, gearman_client):
    fail("1")
    with gearman_client.server_down():
        answer = press(operator, post(operator, "retry:all"))

    assert texts(answer) == [
        "1 job retried.",
        "1 was put into the outbox: no job server takes jobs now.",
    ]


@pytest.mark.django_db(transaction=True)
def test_batches_are_transactions_although_requests_are(
    operator, fail, monkeypatch, gearman_worker
):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    fail("1", "2")
    was_atomic = []

    def look(count):
        was_atomic.append(connections["default"].in_atomic_block)

    monkeypatch.setattr(actions, "_send_on_commit", look)
    question = post(operator, "retry:all")
    press(operator, question)

    assert was_atomic == [False]


def test_a_long_action_ends_in_time_and_says_what_is_left(operator, monkeypatch):
    monkeypatch.setattr(actions, "BATCH", 2)
    monkeypatch.setattr(acting, "MOST_SECONDS", 0)
    for _ in range(5):
        failed()
    question = post(operator, "discard:all")

    answer = press(operator, question)

    assert texts(answer) == [
        "2 jobs discarded.",
        "3 jobs left, because the time of one request was over. Repeat it.",
    ]
    assert JobRecord.objects.count() == 3


def test_an_action_that_ends_early_is_in_the_log_with_its_number(operator, monkeypatch):
    monkeypatch.setattr(actions, "BATCH", 2)
    for _ in range(5):
        failed()
    question = post(operator, "discard:all")
    delete = writing.in_transaction
    batches = []

    def break_down(change, alias):
        batches.append(1)
        if len(batches) == 3:
            raise DatabaseError("the disk is full")
        return delete(change, alias)

    monkeypatch.setattr(writing, "in_transaction", break_down)
    answer = press(operator, question)

    assert texts(answer) == ["The action ended early, after 4 jobs: the disk is full"]
    assert LogEntry.objects.get().object_repr == "4 jobs"
    assert JobRecord.objects.count() == 1

"""One job with the timeline of its attempts."""

from __future__ import annotations

import datetime

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from django_gearman.contrib.dashboard.pages.detail import events_of
from django_gearman.contrib.store.models import JobRecord
from tests.contrib import gearman_jobs as jobs
from tests.contrib.dashboard.test_failures import get, text_of
from tests.contrib.store.recorded import failed, recorded

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]
Status = JobRecord.Status


def titles(record):
    return [event.title for event in events_of(record)]


def test_each_attempt_has_its_worker_its_time_and_its_error(viewer, gearman_worker):
    request = jobs.flaky.do_background(5)
    gearman_worker.run()
    record = JobRecord.objects.get(pk=request.id)

    events = events_of(record)
    page = text_of(get(viewer, "job", request.id))

    assert [event.title for event in events] == [
        "Submitted",
        "Attempt 1 failed",
        "Attempt 2 failed",
        "Attempt 3 failed",
        "Failed for good",
    ]
    assert all(event.time for event in events)
    assert all("/" in event.worker and event.seconds >= 0 for event in events[1:-1])
    assert [event.error.first_line for event in events[1:-1]] == [f"attempt {n}" for n in (1, 2, 3)]
    assert "OSError : attempt 3" in page
    assert "Arguments 5" in page


def test_own_frames_are_open_and_those_of_libraries_are_folded(viewer):
    record = failed()

    page = get(viewer, "job", record.pk)
    own = page.index("<summary>/srv/shop/jobs.py:12 in pay")
    library = page.index(
        "<summary>/srv/venv/lib/python3.12/site-packages/requests/api.py:59 in get"
    )

    assert page[own - 60 : own].endswith('<details class="gearman-frame gearman-own" open>')
    assert page[library - 60 : library].endswith('<details class="gearman-frame">')


def test_the_last_event_is_the_present_state():
    begun = timezone.now()
    ended = begun + datetime.timedelta(seconds=3)
    times = {"last_attempted_at": begun, "finished_at": ended, "worker_ids": ["host/1", "host/2"]}

    good = events_of(recorded(status=Status.SUCCESSFUL, **times))[-1]
    running = events_of(recorded(status=Status.RUNNING, **{**times, "finished_at": None}))[-1]

    assert (good.title, good.worker, good.seconds) == ("Successful", "host/2", 3.0)
    assert (running.title, running.worker, running.time) == ("Attempt 1 runs", "host/2", begun)
    assert titles(recorded(attempts=0)) == ["Submitted", "Waits for a worker"]
    assert titles(recorded(run_after=ended)) == ["Submitted", "Waits for its time"]
    assert titles(recorded(status=Status.CANCELLED)) == ["Submitted", "Cancelled"]


def test_raw_arguments_need_a_permission_of_their_own(staff, gearman_worker):
    request = jobs.pay.do_background("4000 1234", 7, password="sesame")
    gearman_worker.run()
    viewer, trusted = staff("view_jobrecord"), staff("view_jobrecord", "view_call", name="eve")
    address = reverse("admin:gearman_job", args=[request.id])

    assert "raw=1" not in get(viewer, "job", request.id)
    assert viewer.get(address, {"raw": "1"}).status_code == 403
    assert "?raw=1" in get(trusted, "job", request.id)
    page = get(trusted, "job", request.id, raw=1)
    assert "4000 1234" in page
    assert "password=&#x27;sesame&#x27;" in page


def test_the_result_is_shown_without_its_secrets(viewer, gearman_worker):
    request = jobs.double.do_background([{"token": "sesame", "count": 3}])
    gearman_worker.run()

    page = get(viewer, "job", request.id)

    assert "&quot;count&quot;: 3" in page
    assert "sesame" not in page


def test_the_context_is_shown_without_its_secrets(viewer, gearman_worker, settings):
    settings.GEARMAN_CONTEXT_PROVIDER = lambda: {"request_id": "r-17", "api_key": "sesame"}
    request = jobs.fail.do_background("x")
    gearman_worker.run()

    page = get(viewer, "job", request.id)

    assert "request_id: <code>&quot;r-17&quot;</code>" in page
    assert "sesame" not in page


def test_a_jobs_page_asks_again_only_until_the_job_has_ended(viewer):
    running, ended = recorded(status=Status.RUNNING), failed()

    assert "gearman-live" in get(viewer, "job", running.pk)
    assert "gearman-live" not in get(viewer, "job", ended.pk)


@pytest.mark.parametrize("job_id", ["nope", "a/b", "<b>", "x" * 500, "%", "\ud83d"])
def test_an_unknown_job_is_not_found(viewer, job_id):
    job_id = job_id.encode("utf-8", "replace").decode()
    response = viewer.get(reverse("admin:gearman_job", args=[job_id]))

    assert response.status_code == 404
    assert "There is no record of the job" in response.content.decode()
    assert "<b></code>" not in response.content.decode()


def test_a_job_of_another_program_has_its_page(viewer):
    record = failed("other.job", id="dir/with?odd=name&x#y", call="")

    assert "(not kept)" in get(viewer, "job", record.pk)


def test_the_number_of_queries_is_small(viewer, django_assert_max_num_queries):
    record = failed()
    with django_assert_max_num_queries(6):
        get(viewer, "job", record.pk)


def test_only_staff_see_jobs(client):
    record = failed()
    client.force_login(User.objects.create_user("customer"))

    response = client.get(reverse("admin:gearman_job", args=[record.pk]))

    assert response.status_code == 302
    assert reverse("admin:login") in response["Location"]

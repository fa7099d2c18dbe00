"""The admin's pages about queues on each kind of database, with real samples and records."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

SOURCE = """
import datetime
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_gearman.contrib.dashboard.models import JobServer, QueueSample
from django_gearman.contrib.dashboard.pages import jobs, overview
from django_gearman.contrib.dashboard.sampling import Sampler
from django_gearman.contrib.store.models import JobRecord

now = timezone.now()
ago = lambda seconds: now - datetime.timedelta(seconds=seconds)
one = lambda number, **columns: JobRecord.objects.create(
    id=str(number), name="tests.contrib.double", queue="default", **columns
)
one(1, status="READY", enqueued_at=ago(600))
one(2, status="READY", enqueued_at=ago(900), run_after=ago(-900))
one(3, status="FAILED", finished_at=ago(3600))
one(4, status="SUCCESSFUL", last_attempted_at=ago(62), finished_at=ago(60))
OutboxJob.objects.create(function="f", job_id="1", unique="1", workload=b"", created_at=ago(900))
mark.using(on_commit=False).do_background(1)
for sampler in (Sampler(), Sampler()):
    sampler.turn()
    sampler.turn()

data = overview.collect()
[queue] = [each for each in data.queues if each.name == "default"]
[trail] = [each for each in data.queues if each.name == "trail"]
assert 599 < queue.oldest < 660, queue.oldest
assert queue.failed == 1
assert "1 job has waited" in str(data.problems), data.problems
assert JobServer.objects.count() == 1
assert 1 <= QueueSample.objects.filter(queue="trail").count() <= 2
assert trail.waited[-1] in (1, None), trail.waited  # None if a minute has just begun
[row] = [each for each in jobs.collect().rows if each.name == "tests.contrib.double"]
assert row.seconds == [2.0], row.seconds

client = Client(headers={"host": "localhost"})
client.force_login(User.objects.create_superuser("ada"))
for page in ("overview", "workers", "jobs"):
    response = client.get(f"/admin/gearman_dashboard/{page}/")
    assert response.status_code == 200, page
paused = client.post("/admin/gearman_dashboard/overview/pause/", {"queue": "trail"}, follow=True)
assert "Queue trail is paused" in paused.content.decode()
"""


def test_the_pages_show_what_is_in_the_database(project):
    entry = {"job": "tests.contrib.integration.due", "every": 3600}
    project.set(TEST_SCHEDULE=json.dumps({"hourly": entry}))

    project.python(SOURCE)

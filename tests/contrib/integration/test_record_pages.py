"""The admin's pages about jobs, and their actions, on each kind of database."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

SOURCE = """
import html, re
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_gearman.contrib.store.finding import Choice, counts_by_status
from django_gearman.contrib.store.grouping import groups_of
from django_gearman.contrib.store.models import JobRecord, Schedule
from tests.contrib.store.recorded import failed, recorded

client = Client(headers={"host": "localhost"})
client.force_login(User.objects.create_superuser("ada"))

def get(name, *args, **query):
    response = client.get(reverse(f"admin:gearman_{name}", args=args), query)
    assert response.status_code == 200, (name, response)
    return html.unescape(response.content.decode())

def act(act, **fields):
    address = reverse("admin:gearman_act")
    asked = client.post(address, {"act": act, **fields})
    page = html.unescape(asked.content.decode().partition("<main")[2])
    hidden = page.partition(f'action="{address}"')[2].partition("</form>")[0]
    form = {}
    for name, value in re.findall('<input type="hidden" name="([a-z_]+)" value="([^"]*)"', hidden):
        form.setdefault(name, []).append(value)
    done = client.post(address, {**form, "act": act}, follow=True)
    return html.unescape(done.content.decode())

one = failed("shop.one", "ValueError", "bad \\U0001f600")
assert [group.count for group in groups_of(Choice()).groups] == [1]  # a single one
for number in range(70):
    failed("shop.many", "shop.errors.Refused", f"number {number}", ago=number)
ready = [recorded("shop.ready") for _ in range(3)]
first, second = groups_of(Choice()).groups
assert (first.job, first.count, sum(first.bars)) == ("shop.many", 70, 70), first
assert first.error.message == "number 0", first.error
assert second.error.message.startswith("bad"), second.error
assert counts_by_status() == {
    "READY": 3, "RUNNING": 0, "SUCCESSFUL": 0, "FAILED": 71, "CANCELLED": 0
}
assert "shop.many" in get("failures")
assert "shop.many" in get("failures", since="1h", exception="Refused")
assert "51–70 of 70" in get("list", job="shop.many", page="2")
assert "Timeline" in get("job", one.pk)
for value in ("\\0", "%", "x" * 299):
    get("list", job=value, exception=value, queue=value)
get("schedules")

assert "1 job retried." in act("retry:selected", id=one.pk)
assert OutboxJob.objects.count() == 0, "the job server has it"
assert "70 jobs discarded." in act("discard:all", job="shop.many", exception="Refused")
assert "2 jobs cancelled." in act("cancel:selected", status="READY", id=[ready[0].pk, ready[1].pk])
assert JobRecord.objects.filter(status="CANCELLED").count() == 2
assert LogEntry.objects.count() == 3

address = reverse("admin:gearman_schedule_act")
for what in ("pause", "resume", "run"):
    client.post(address, {"act": what, "name": "hourly"})
assert Schedule.objects.get(pk="hourly").paused_at is None
assert "no scheduler has seen it yet" in get("schedules")
assert LogEntry.objects.count() == 6, [*LogEntry.objects.values_list("change_message")]
"""


def test_the_pages_and_their_actions_work(project):
    entry = {"job": "tests.contrib.integration.due", "every": 3600}
    project.set(TEST_SCHEDULE=json.dumps({"hourly": entry}))

    project.python(SOURCE)

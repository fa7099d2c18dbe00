"""Several people who press the same button of the admin's pages in the same moment."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

ROUNDS, PEOPLE = 3, 3

SOURCE = """
import html, json, re, threading
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_gearman.contrib.store.models import JobRecord, PausedQueue, Schedule
from tests.contrib.store.recorded import failed, recorded

names = [f"ada{number}" for number in range(PEOPLE)]
browsers = [Client(headers={"host": "localhost"}) for _ in names]
for name, browser in zip(names, browsers):
    browser.force_login(User.objects.create_superuser(name))

def at_once(*presses):
    '''Let each of the people press a button at the same time; return what each is told, and the log.'''
    before = LogEntry.objects.count()
    barrier, said = threading.Barrier(PEOPLE), [None] * PEOPLE
    def press(number):
        address, fields = presses[number % len(presses)]
        barrier.wait()
        try:
            answer = browsers[number].post(reverse(f"admin:gearman_{address}"), fields)
            assert answer.status_code == 302, answer.content
            page = html.unescape(browsers[number].get(answer["Location"]).content.decode())
            found = re.findall('<li class="(success|warning|error)">(.*?)</li>', page)
            said[number] = [names[number], *found]
        except BaseException as error:
            said[number] = [names[number], ("exception", repr(error))]
        finally:
            connections.close_all()
    threads = [threading.Thread(target=press, args=[number]) for number in range(PEOPLE)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    entries = LogEntry.objects.order_by("pk").values_list("user__username", "change_message")
    return said, [*entries][before:]

def act(name, pk, status):
    fields = {"act": f"{name}:selected", "id": pk, "status": status, "stated": 1, "confirmed": 1}
    return "act", fields

def state_of(one):
    return "".join(JobRecord.objects.filter(pk=one.pk).values_list("status", flat=True))

rounds = []
for number in range(ROUNDS):
    found = {}
    one = failed("tests.contrib.integration.mark", function="tests.contrib.integration.mark",
        workload=b'{"args": [1]}')
    found["retry"] = *at_once(act("retry", one.pk, "FAILED")), state_of(one)
    one = failed("shop.pay")
    found["discard"] = *at_once(act("discard", one.pk, "FAILED")), state_of(one)
    one = recorded("shop.pay")
    found["cancel"] = *at_once(act("cancel", one.pk, "READY")), state_of(one)
    one = failed("tests.contrib.integration.note", function="tests.contrib.integration.note",
        workload=b'{"args": [1]}')
    both = act("retry", one.pk, "FAILED"), act("discard", one.pk, "FAILED")
    found["both"] = *at_once(*both), state_of(one)
    found["pause"] = *at_once(("pause", {"queue": "trail"})), PausedQueue.objects.count()
    found["resume"] = *at_once(("resume", {"queue": "trail"})), PausedQueue.objects.count()
    now = timezone.now().isoformat()
    found["run"] = *at_once(("schedule_act", {"act": "run", "name": "hourly", "at": now})), 0
    for name in ("pause", "resume"):
        fields = {"act": name, "name": "hourly"}
        state = at_once(("schedule_act", fields))
        found[f"{name} schedule"] = *state, Schedule.objects.get(pk="hourly").paused_by
    rounds.append(found)
sys.stdout.write("FOUND" + json.dumps(rounds))
"""

#: What the one is told who did it, what the others are told, and the state after it.
EXPECTED: dict[str, tuple[str, str, Any]] = {
    "retry": ("1 job retried.", "retried already, and waiting", "READY"),
    "discard": ("1 job discarded.", "no longer there", ""),
    "cancel": ("1 job cancelled.", "ended or cancelled before", "CANCELLED"),
    "pause": ("Queue trail is paused", "Queue trail was paused already.", 1),
    "resume": ("Queue trail is resumed", "Queue trail was not paused.", 0),
    "run": (
        "Schedule hourly runs now, as job",
        "Schedule hourly runs already: the button",
        0,
    ),
    "resume schedule": ("Schedule hourly is resumed.", "Schedule hourly was not paused.", ""),
}


@pytest.fixture(params=["postgresql", "mariadb"])
def vendor(request) -> str:
    return request.param


def test_one_of_several_people_does_it_and_all_get_a_clear_answer(project, own_gearmand):
    # Given a project whose jobs nobody serves, so that all that are submitted can be counted
    entry = {"job": "tests.contrib.integration.due", "every": 3600}
    project.set(TEST_SCHEDULE=json.dumps({"hourly": entry}))

    # When several people press a button in the same moment, again and again
    source = SOURCE.replace("PEOPLE", str(PEOPLE)).replace("ROUNDS", str(ROUNDS))
    rounds = json.loads(project.python(source, seconds=600).partition("FOUND")[2])

    # Then one of them has done it, and is in the log; the others are told what became of it
    for found in rounds:
        for name, (said, log, state) in found.items():
            assert all(len(each) == 2 for each in said), f"{name}: one answer each: {said}"
            winners = [person for person, (level, _) in said if level == "success"]
            assert len(winners) == 1, f"{name}: {said}"
            assert [person for person, _ in log] == winners, f"{name}: {log}"
            if name in EXPECTED:
                done, other, expected = EXPECTED[name]
                for person, (level, text) in said:
                    assert (done if person in winners else other) in text, f"{name}: {text}"
                    assert level in ("success", "warning"), f"{name}: {said}"
                assert state == expected, name
            elif name == "pause schedule":
                assert state == winners[0]
            else:
                [done] = [text for person, (_, text) in said if person in winners]
                assert state == ("READY" if done == "1 job retried." else ""), f"{done} {state}"
    totals = own_gearmand.totals()
    assert totals["tests.contrib.integration.mark"][0] == ROUNDS
    assert totals["tests.contrib.integration.due"][0] == ROUNDS

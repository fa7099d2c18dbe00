"""The command gearman_control, without a supervisor; tests/contrib/integration has those with one."""

from __future__ import annotations

import datetime
import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_gearman.contrib.store import control
from django_gearman.testing.gearmand import free_port
from tests.contrib import gearman_jobs as jobs

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("gearman_control", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def nobody(settings, production) -> str:
    """Use a job server that is down, and return its address."""
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [f"127.0.0.1:{free_port()}"]
    return settings.GEARMAN_SERVERS[0]


def test_queues_are_paused_and_resumed():
    assert run("pause", "mail", "slow", "--by", "ann") == "queue mail: paused\nqueue slow: paused\n"
    assert run("pause", "mail") == "queue mail: was paused\n"
    assert control.paused()["mail"].paused_by == "ann"
    assert json.loads(run("resume", "mail", "--json")) == {"resumed": ["mail"]}
    assert run("resume", "mail", "slow") == "queue mail: was not paused\nqueue slow: resumed\n"


def test_a_wrong_queue_stops_no_other_one():
    out = io.StringIO()

    with pytest.raises(CommandError, match=r"queue 'two words': .* is not a queue name"):
        call_command("gearman_control", "pause", "two words", "mail", stdout=out)

    assert out.getvalue() == "queue mail: paused\n"
    assert "mail" in control.paused()


def test_the_user_of_the_shell_is_named(monkeypatch):
    monkeypatch.setenv("LOGNAME", "carol")

    run("pause", "mail")

    assert control.paused()["mail"].paused_by == "carol"


def test_the_list_shows_paused_queues_although_a_server_is_down(nobody):
    run("pause", "mail", "--by", "ann")
    out = io.StringIO()

    with pytest.raises(CommandError, match=nobody):
        call_command("gearman_control", "list", stdout=out)

    head, row = out.getvalue().splitlines()
    assert head.split() == ["PAUSED", "QUEUE", "SINCE", "BY"]
    assert (row.split()[0], row.split()[-1]) == ("mail", "ann")
    out = io.StringIO()
    with pytest.raises(CommandError, match=nobody):
        call_command("gearman_control", "list", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert [each["queue"] for each in found["paused"]] == ["mail"]
    assert (found["supervisors"], len(found["problems"])) == ([], 1)


def test_without_a_worker_the_list_says_so(settings, production, gearmand):
    settings.GEARMAN_BACKEND, settings.GEARMAN_SERVERS = "gearman", [gearmand.address]
    settings.GEARMAN_JOB_NAME = "nobody-serves-this.{name}"

    assert run("list", "--timeout", "20").startswith("No gearman_worker is connected")
    assert run("reload", "--all", "--timeout", "20").startswith("No gearman_worker is connected")


@pytest.mark.gearman("memory")
def test_jobs_are_cancelled(gearman_client):
    waits = jobs.double.do_background(1).id
    later = jobs.double.using(run_after=datetime.timedelta(hours=1)).do_background(1).id

    assert run("cancel", waits, later).splitlines() == [
        f"{waits}: cancelled; it was queued",
        f"{later}: cancelled; it waited for its time",
    ]
    assert json.loads(run("cancel", waits, "--json")) == {waits: "finished"}
    out = io.StringIO()
    with pytest.raises(CommandError, match="There is no record of job nope"):
        call_command("gearman_control", "cancel", "nope", waits, stdout=out)
    assert out.getvalue() == f"nope: unknown\n{waits}: it had ended before\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["pause"], "pause needs the name of a queue"),
        (["cancel"], "cancel needs the id of a job"),
        (["resume"], "resume needs the name of a queue"),
        (["pause", "*"], "is not a queue name"),
        (["pause", ""], "is not a queue name"),
        (["list", "mail"], "list takes no names"),
        (["stack"], "stack needs one process id"),
        (["stack", "1", "2"], "stack needs one process id"),
        (["stack", "me"], "'me' is not a process id"),
        (["stack", "-1"], "invalid|unrecognized|is not a process id|arguments"),
        (["stack", "\N{SUPERSCRIPT TWO}"], "is not a process id"),
        (["stack", "1"], "No supervisor has a process 1. .*down|refused"),
        (["stack", "1", "--supervisor", "app:1"], "knows a supervisor 'app:1'"),
        (["reload"], "Say which: supervisors like app-1:4711, or --all"),
        (["reload", "app:1", "--all"], "Say which: supervisors like app-1:4711, or --all"),
        (["reload", "app:1"], "knows a supervisor 'app:1'"),
        (["list", "--timeout", "0"], "timeout"),
        (["list", "--timeout", "x"], "timeout"),
        (["explode"], "invalid choice: 'explode'"),
    ],
)
def test_a_wrong_call_says_what_to_write(nobody, arguments, reason):
    with pytest.raises(CommandError, match=reason):
        run(*arguments)

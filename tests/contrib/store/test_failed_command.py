"""The commands gearman_failed and gearman_prune."""

from __future__ import annotations

import datetime
import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from django_gearman.contrib.store import pruning
from django_gearman.contrib.store.models import JobRecord
from tests.contrib import gearman_jobs as jobs
from tests.contrib.store import recorded

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]


@pytest.fixture
def failed(gearman_worker, has_run) -> list[str]:
    """Let three jobs fail, and return their ids."""
    requests = [
        jobs.fail.do_background("a"),
        jobs.flaky.do_background(9),
        jobs.pay.do_background("4111-2222", 3, password="hunter2"),
    ]
    gearman_worker.run()
    has_run.clear()
    return [request.id for request in requests]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_the_list_has_a_line_for_each(failed):
    lines = run("gearman_failed", "list").splitlines()

    assert lines[0].split() == ["ID", "JOB", "ATTEMPTS", "FAILED", "ERROR"]
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(failed)
    assert any("tests.contrib.flaky" in line and "OSError: attempt 3" in line for line in lines)


def test_an_empty_list_says_so(gearman_client):
    assert run("gearman_failed", "list") == "No failed jobs.\n"
    assert json.loads(run("gearman_failed", "list", "--json")) == []


def test_the_list_as_json_has_everything_but_secrets(failed):
    text = run("gearman_failed", "list", "--json")
    found = {each["id"]: each for each in json.loads(text)}

    assert set(found) == set(failed)
    assert found[failed[0]]["name"] == "tests.contrib.fail"
    assert found[failed[0]]["status"] == "FAILED"
    assert [each["attempt"] for each in found[failed[1]]["errors"]] == [1, 2, 3]
    assert "hunter2" not in text
    assert "4111-2222" not in text


@pytest.mark.parametrize(
    ("options", "places"),
    [
        (["--job", "tests.contrib.fail"], [0]),
        (["--exception", "OSError"], [1]),
        (["--since", "1h"], [0, 1, 2]),
        (["--since", "2100-01-01"], []),
        (["--since", "2020-01-01T08:00", "--exception", "ValueError"], [0, 2]),
    ],
)
def test_the_options_choose(options, places, failed):
    found = json.loads(run("gearman_failed", "list", *options, "--json"))

    assert {each["id"] for each in found} == {failed[place] for place in places}


def test_show_has_each_attempt_with_its_traceback(failed):
    text = run("gearman_failed", "show", failed[1])

    assert "FAILED, 3 attempts" in text
    assert text.count("Traceback (most recent call last)") == 3
    assert json.loads(run("gearman_failed", "show", failed[1], "--json"))["id"] == failed[1]


def test_secrets_are_not_shown(failed):
    text = run("gearman_failed", "show", failed[2])

    assert "hunter2" not in text
    assert "4111-2222" not in text
    assert '["********************", 3]' in text


def test_retry_runs_them_again(failed, gearman_worker, has_run):
    out = run("gearman_failed", "retry", "--exception", "OSError", "--yes", "--json")
    gearman_worker.run()

    assert json.loads(out) == {"retried": 1, "waiting": 0, "refused": {}}
    assert has_run == [4]


def test_discard_deletes_after_a_question(failed, monkeypatch):
    answers = ["n", "y"]
    monkeypatch.setattr("builtins.input", lambda question: answers.pop(0))
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("gearman_failed", "discard", "--all")
    assert JobRecord.objects.count() == 3

    assert run("gearman_failed", "discard", "--all") == "3 jobs discarded\n"
    assert not JobRecord.objects.exists()


def test_nothing_is_deleted_without_an_answer(failed, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="Add --yes"):
        run("gearman_failed", "discard", "--all")

    assert JobRecord.objects.count() == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retry"], "Choose the jobs with IDs, --job, --exception, --since or --all"),
        (["discard", "--yes"], "Choose the jobs"),
        (["show"], "Say which: gearman_failed show ID"),
        (["retry", "abc", "--all"], "Use either IDs or options to choose the jobs, not both"),
        (["retry", "abc"], "were not changed: abc"),
        (["show", "abc"], "There is no record of job abc"),
        (["list", "--since", "yesterday"], "'yesterday' is neither a time like"),
        (["list", "--since", "2026-13-01"], "'2026-13-01' is neither"),
        (["list", "--since", "999999999w"], "is too long ago"),
        (["list", "--since", ""], "'' is neither"),
        (["destroy"], "invalid choice"),
    ],
)
def test_wrong_calls_say_what_is_wrong(arguments, message):
    with pytest.raises(CommandError, match=message):
        run("gearman_failed", *arguments)


def test_a_failure_that_cannot_run_again_is_reported(gearman_worker):
    request = jobs.keeps_no_arguments.do_background("anna")
    gearman_worker.run()

    with pytest.raises(CommandError, match=r"1 jobs cannot run again.*keeps no arguments"):
        run("gearman_failed", "retry", request.id)
    assert "anna" not in run("gearman_failed", "show", request.id)


def test_expired_records_are_pruned_in_batches(failed, gearman_worker, monkeypatch):
    jobs.double.do_background(1)
    gearman_worker.run()
    monkeypatch.setattr(pruning, "BATCH", 2)
    past = timezone.now() - datetime.timedelta(seconds=1)
    JobRecord.objects.filter(status="FAILED").update(expires_at=past)

    assert "3 records have expired" in run("gearman_prune", "--dry-run")
    assert json.loads(run("gearman_prune", "--dry-run", "--json"))["expired"] == 3
    assert JobRecord.objects.count() == 4
    assert run("gearman_prune") == "3 records deleted\n"
    assert JobRecord.objects.get().name == "tests.contrib.double"
    assert json.loads(run("gearman_prune", "--json")) == {"deleted": 0}


def test_records_without_a_limit_do_not_expire(settings, gearman_worker, has_run):
    settings.GEARMAN_FAILURE_TTL = None
    jobs.fail.do_background()
    gearman_worker.run()

    assert JobRecord.objects.get().expires_at is None
    assert run("gearman_prune") == "0 records deleted\n"


def test_damaged_records_are_shown_too():
    for number, errors in enumerate(["text", {"a": 1}, [7], [{}], [{"message": None}]]):
        recorded.failed(id=f"damaged-{number}", errors=errors)

    listed = run("gearman_failed", "list")
    shown = run("gearman_failed", "show", "damaged-0", "damaged-2", "damaged-4")

    assert listed.count("damaged-") == 5
    assert "    text\n" in shown
    assert "    7\n" in shown

"""`manage.py gearman_outbox`, the settings' checks, and the service of the attendant."""

from __future__ import annotations

import json
import logging
import re
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from django_gearman import checks
from django_gearman.contrib.store.models import OutboxJob
from django_gearman.contrib.store.outbox.service import Relays, make_service

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("gearman_outbox", *arguments, stdout=output)
    return output.getvalue()


def test_once_sends_what_waits(queue, gearman_client, ran):
    queue(1, 2)

    assert run("--once") == "2 sent, 0 refused, 0 stuck\n"
    assert ran == [1, 2]
    assert json.loads(run("--once", "--json")) == {"sent": 0, "refused": 0, "stuck": 0}


def test_once_fails_while_a_job_server_is_down(queue, gearman_client):
    queue(1)

    with gearman_client.server_down(), pytest.raises(CommandError, match="Jobs wait in the outbox"):
        run("--once")


def test_status_shows_what_waits_and_what_is_stuck(queue, gearman_client):
    queue(1)
    OutboxJob.objects.create(
        job_id="7", unique="7", function="f", workload=b"", next_try_at=None, last_error="Oh: no"
    )

    shown = r"default: 1 waiting, the oldest for \d+ s, 1 stuck\n  f 7: Oh: no\n"
    assert re.fullmatch(shown, run("--status"))
    [row] = json.loads(run("--status", "--json"))
    assert (row["database"], row["waiting"], row["stuck"]) == ("default", 1, 1)
    assert 0 <= row["oldest_seconds"] < 60
    assert row["last_stuck"][0]["function"] == "f"


def test_status_of_an_empty_outbox(db):
    assert run("--status") == "default: 0 waiting, 0 stuck\n"


def test_retry_makes_stuck_jobs_due(gearman_client):
    OutboxJob.objects.create(
        job_id="7", unique="7", function="tests.app.note", workload=b"1", next_try_at=None
    )

    assert run("--retry") == "1 jobs are due again\n"
    assert run("--once") == "1 sent, 0 refused, 0 stuck\n"


@pytest.mark.usefixtures("production")
def test_a_transport_inside_one_process_has_no_relay_of_its_own(settings, monkeypatch):
    from django_gearman import environment

    monkeypatch.setattr(environment, "PRODUCTION", environment.current())

    assert make_service() is None
    with pytest.raises(CommandError, match="GEARMAN_BACKEND is 'eager'"):
        run("--once")


def test_a_database_without_the_table_is_a_clear_error():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gearman_outbox RENAME TO gone")

    with pytest.raises(CommandError, match="migrate"):
        run("--once")
    with pytest.raises(CommandError, match="migrate"):
        run("--status")


def test_the_service_logs_an_outage_once_and_looks_more_rarely(queue, gearman_client, caplog):
    caplog.set_level(logging.INFO, "django_gearman")
    queue(1)
    relays = Relays()
    with gearman_client.server_down():
        seconds = [relays.turn(None) for _ in range(4)]

    assert seconds == [2, 4, 5, 5]
    assert caplog.text.count("jobs wait in the outbox: ") == 1
    assert relays.turn(None) is None
    assert "the outbox sent 1 jobs later" in caplog.text


# Checks


def errors() -> list[str]:
    return [message.msg for message in checks.check_settings() if message.id.endswith("E016")]


@pytest.mark.parametrize("value", [False, True, "default"])
def test_valid_settings(settings, value):
    settings.GEARMAN_OUTBOX = value

    assert errors() == []


@pytest.mark.parametrize("value", [1, "", None, ["default"]])
def test_a_setting_of_the_wrong_type(settings, value):
    settings.GEARMAN_OUTBOX = value

    [error] = errors()
    assert error.startswith("GEARMAN_OUTBOX is True, False or a database's alias, not ")


def test_an_alias_that_does_not_exist(settings):
    settings.GEARMAN_OUTBOX = "other"

    assert errors() == ["GEARMAN_OUTBOX is 'other', but DATABASES has default"]


def test_the_app_is_missing(settings):
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if not app.startswith("django_gearman.contrib.")
    ]

    [error] = errors()
    assert "add 'django_gearman.contrib.store' to INSTALLED_APPS" in error


def test_a_router_that_keeps_the_table_out_of_the_outboxs_database(settings):
    settings.DATABASE_ROUTERS = ["tests.contrib.store.outbox.routing.Nowhere"]

    [error] = errors()
    assert "DATABASE_ROUTERS" in error

"""The tables of the store."""

from __future__ import annotations

import datetime

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from django_gearman.contrib.store.functions import DatabaseTime
from django_gearman.contrib.store.models import JobRecord, OutboxJob, PausedQueue, Schedule, Tick

pytestmark = pytest.mark.django_db
MODELS = [JobRecord, OutboxJob, PausedQueue, Schedule, Tick]


def test_migrations_have_every_model_as_it_is():
    call_command("makemigrations", "gearman_store", check=True, dry_run=True, verbosity=0)


def test_tables_have_the_documented_names():
    assert [model._meta.db_table for model in MODELS] == [
        "gearman_jobrecord",
        "gearman_outbox",
        "gearman_pausedqueue",
        "gearman_schedule",
        "gearman_tick",
    ]


def test_the_database_sets_the_times_of_an_outbox_row():
    before = timezone.now() - datetime.timedelta(milliseconds=2)  # SQLite's clock has milliseconds
    OutboxJob.objects.create(job_id="1", unique="1", function="f", workload=b"\0\xff")

    row = OutboxJob.objects.get()

    assert before <= row.created_at <= timezone.now()
    assert row.next_try_at - row.created_at == datetime.timedelta(seconds=5)
    assert bytes(row.workload) == b"\0\xff"


def test_the_databases_time_is_comparable_in_queries():
    row = OutboxJob.objects.create(job_id="1", unique="1", function="f", workload=b"")
    young = OutboxJob.objects.filter(next_try_at__lte=DatabaseTime())

    assert not young.exists()
    OutboxJob.objects.filter(pk=row.pk).update(next_try_at=DatabaseTime(seconds=-0.5))
    assert young.get() == row


def test_a_schedule_has_one_tick_at_a_time():
    due = timezone.now()
    Tick.objects.create(schedule="nightly", due_at=due, job_id="1")

    with pytest.raises(IntegrityError), transaction.atomic():
        Tick.objects.create(schedule="nightly", due_at=due, job_id="2")
    Tick.objects.create(schedule="hourly", due_at=due, job_id="2")


def test_there_is_a_permission_for_each_action_of_people():
    permissions = Permission.objects.filter(content_type__app_label="gearman_store")

    assert {
        *("retry_jobrecord", "discard_jobrecord", "cancel_jobrecord"),
        *("control_worker", "view_call", "view_jobrecord"),
    } <= {*permissions.values_list("codename", flat=True)}

"""Recorded jobs in the outbox, and the outbox in async code."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from django_gearman.contrib.store.models import JobRecord, OutboxJob
from tests.app import gearman_jobs as jobs
from tests.contrib import gearman_jobs as stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("outbox")]


class Undone(Exception):
    """Rolls a transaction back."""


def test_a_record_and_its_row_are_one_transaction(gearman_client):
    with pytest.raises(Undone), transaction.atomic():
        stored.double.do_background(1)
        assert (JobRecord.objects.count(), OutboxJob.objects.count()) == (1, 1)
        raise Undone

    assert (JobRecord.objects.count(), OutboxJob.objects.count()) == (0, 0)


def test_a_recorded_job_of_an_outage_is_ready_and_then_successful(gearman_client, relay):
    with gearman_client.server_down(), transaction.atomic():
        request = stored.double.do_background(4)
    assert JobRecord.objects.get(pk=request.id).status == "READY"

    relay()

    assert JobRecord.objects.get(pk=request.id).status == "SUCCESSFUL"
    assert gearman_client.get_result(request.id) == 8


def test_a_recorded_job_that_is_sent_twice_runs_once(gearman_client, relay, monkeypatch):
    with gearman_client.server_down(), transaction.atomic():
        request = stored.double.do_background(4)
    [row] = OutboxJob.objects.all()
    relay()
    row.pk = None
    row.save(force_insert=True)

    relay()

    assert JobRecord.objects.get(pk=request.id).attempts == 1


def test_async_code_writes_a_row_in_the_transaction_of_its_thread(gearman_client, ran):
    with transaction.atomic():
        async_to_sync(jobs.note.ado_background)(1)
        assert OutboxJob.objects.count() == 1

    assert (ran, OutboxJob.objects.count()) == ([1], 0)

"""Tests of a project that may not use the database: records are neither written nor missed."""

from __future__ import annotations

import logging

from django.test import SimpleTestCase

from django_gearman.contrib.store.counters import gearman_store_errors_total
from tests.contrib import gearman_jobs as jobs


def test_pytest_without_a_database(gearman_client, gearman_worker, has_run, caplog):
    gearman_client.raise_failures = False
    before = gearman_store_errors_total.value
    jobs.fail.do_background()
    jobs.double.do_background(1)

    assert has_run == ["no", 1]
    assert gearman_store_errors_total.value == before
    assert [r for r in caplog.records if r.name == "django_gearman.store"] == []


class TestOfDjango(SimpleTestCase):
    def test_it_runs_jobs(self):
        before = gearman_store_errors_total.value
        with self.assertNoLogs("django_gearman.store", logging.INFO):
            jobs.double.do_background(1)

        assert gearman_store_errors_total.value == before

"""The page of declared jobs."""

from __future__ import annotations

import datetime
import re

import pytest
from django.test import Client
from django.utils import timezone

from django_gearman.contrib.dashboard.pages.jobs import percentile
from django_gearman.contrib.store.models import JobRecord
from tests.contrib.dashboard.servers import answering, hanging

ADDRESS = "/admin/gearman_dashboard/jobs/"
EVIL = "<script>alert(1)</script>"

pytestmark = pytest.mark.django_db


def row_of(browser: Client, job: str) -> str:
    """Return the text in a job's row."""
    page = browser.get(ADDRESS).content.decode().replace("<wbr>", "")
    [row] = [part for part in page.split("<tr") if f'<th scope="row">{job}</th>' in part]
    row = row.partition("</tr>")[0].partition(">")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", row).split())


def ran(job: str, seconds: float, minutes: float = 1, queue: str = "default") -> JobRecord:
    ended = timezone.now() - datetime.timedelta(minutes=minutes)
    began = ended - datetime.timedelta(seconds=seconds)
    return JobRecord(
        id=f"{job}-{seconds}-{minutes}",
        name=job,
        queue=queue,
        status="SUCCESSFUL",
        enqueued_at=began,
        started_at=began - datetime.timedelta(hours=2),  # of the first attempt
        last_attempted_at=began,
        finished_at=ended,
    )


@pytest.fixture
def served(use):
    status = (
        b"tests.contrib.fails_at_first\t5\t1\t3\ntests.contrib.fails_at_first@delayed\t2\t0\t3\n.\n"
    )
    with answering({b"status": status, b"version": b"OK 1\n"}) as server:
        use(server.address)
        yield


def test_a_job_shows_its_options_its_workers_and_its_times(viewer, served, settings):
    settings.GEARMAN_JOB_TIMEOUT = 90
    JobRecord.objects.bulk_create(
        [ran("tests.contrib.fails_at_first", seconds / 10) for seconds in range(1, 101)]
        + [ran("tests.contrib.fails_at_first", 1000, minutes=61)]
    )

    assert row_of(viewer, "tests.contrib.fails_at_first") == (
        "tests.contrib.fails_at_first default 3 6 1 1 min 30 s 2 100 5 s 9.5 s"
    )


def test_a_job_without_a_worker_or_without_records_says_so(viewer, served):
    assert row_of(viewer, "tests.contrib.double") == (
        "tests.contrib.double default not served 0 0 none – 0"
    )
    assert row_of(viewer, "tests.contrib.plain") == (
        "tests.contrib.plain default not served 0 0 none – not recorded"
    )


def test_nothing_is_known_about_workers_while_no_server_answers(viewer, use):
    with hanging() as server:
        use(server.address)

        assert row_of(viewer, "tests.contrib.plain") == (
            "tests.contrib.plain default unknown none – not recorded"
        )
        assert server.address in viewer.get(ADDRESS).content.decode()


def test_a_job_that_only_records_know_is_shown_and_escaped(viewer):
    ran(EVIL, 0.25, queue=EVIL).save()

    page = viewer.get(ADDRESS).content.decode()

    assert "<script>alert" not in page
    assert "known from its records only" in page
    assert "250 ms" in page


def test_the_number_of_queries_does_not_grow(
    viewer, served, django_assert_num_queries, django_assert_max_num_queries
):
    with django_assert_max_num_queries(10) as few:
        viewer.get(ADDRESS)
    JobRecord.objects.bulk_create(ran(f"job{n % 7}", n) for n in range(200))

    with django_assert_num_queries(len(few)):
        viewer.get(ADDRESS)


@pytest.mark.parametrize(
    ("values", "median", "slow"),
    [
        ([], None, None),
        ([3], 3, 3),
        ([2, 1], 1, 2),
        (range(1, 21), 10, 19),
        (range(1, 1001), 500, 950),
    ],
)
def test_percentiles_are_values_that_were_measured(values, median, slow):
    assert (percentile(values, 50), percentile(values, 95)) == (median, slow)

"""Failures in groups and lists."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.urls import reverse

from django_gearman.contrib.dashboard.pages import failures, listing
from django_gearman.contrib.store.models import JobRecord
from tests.contrib import gearman_jobs as jobs
from tests.contrib.store.recorded import failed, recorded

pytestmark = [pytest.mark.django_db, pytest.mark.gearman("memory", raise_failures=False)]
Status = JobRecord.Status
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def get(browser, name, *args, **query):
    response = browser.get(reverse(f"admin:gearman_{name}", args=args), query)
    assert response.status_code == 200
    return response.content.decode()


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).split())


def test_failures_stand_in_groups_with_links_to_their_lists(viewer):
    failed("shop.pay", "ValueError", "card 1", ago=7200)
    failed("shop.pay", "ValueError", "card 2")
    failed("shop.send", "OSError", "no route")

    page = get(viewer, "failures")
    links = re.findall(r'href="([^"]+/list/\?job=[^"]+)"', page)
    first = viewer.get(links[0].replace("&amp;", "&")).content.decode()

    assert "3 failed jobs in 2 groups" in text_of(page)
    assert "card 2" in page
    assert "/srv/shop/jobs.py:12 in pay" in page
    assert len(links) == 2
    assert text_of(first).count("shop.pay") >= 2
    assert "no route" not in first


def test_without_failures_the_page_says_so(viewer):
    assert "No failed jobs." in get(viewer, "failures")
    failed()
    assert "No failed jobs match these filters." in get(viewer, "failures", job="none")


def test_filters_narrow_groups_and_lists_and_stay(viewer):
    failed("shop.pay", "ValueError", "the one", queue="money")
    failed("shop.pay", "OSError", "unwanted", queue="money")
    failed("shop.pay", "ValueError", "long ago", queue="money", ago=90_000)
    query = {"job": "shop.pay", "exception": "ValueError", "queue": "money", "since": "24h"}

    for name in ("failures", "list"):
        page = get(viewer, name, **query)
        assert "the one" in page
        assert "unwanted" not in page
        assert "long ago" not in page
        assert 'value="shop.pay"' in page
        assert '<option value="24h" selected>' in page


@pytest.mark.parametrize("status", Status.values)
def test_jobs_of_each_status_have_a_list(viewer, status):
    record = recorded("shop.pay", status=status)

    page = get(viewer, "list", status=status)

    assert reverse("admin:gearman_job", args=[record.pk]) in page
    assert f'aria-current="page">{status.capitalize()} <span class="gearman-quiet">1<' in page


def test_the_other_lists_have_the_same_filters_but_those_of_errors(viewer):
    page = get(viewer, "list", job="shop.pay", exception="ValueError", queue="money")

    assert "?status=READY&amp;job=shop.pay&amp;queue=money" in page
    assert "?job=shop.pay&amp;exception=ValueError&amp;queue=money" in page


def test_a_list_has_pages_and_keeps_its_filters(viewer):
    for number in range(60):
        failed("shop.pay", message=f"number {number}.", ago=number)

    first = get(viewer, "list", job="shop.pay")
    second = get(viewer, "list", job="shop.pay", page=2)
    beyond = get(viewer, "list", job="shop.pay", page="99")

    assert "number 0." in first
    assert "number 50." not in first
    assert "?job=shop.pay&amp;page=2" in first
    assert "1–50 of 60" in first
    assert "number 50." in second
    assert "number 0." not in second
    assert "51–60 of 60" in beyond


def test_after_the_last_page_older_jobs_are_the_first_page_of_another_list(viewer, monkeypatch):
    monkeypatch.setattr(listing, "MOST_SHOWN", 3)
    monkeypatch.setattr(listing, "ROWS", 2)
    for number in range(5):
        failed(message=f"number {number}.", ago=10 * number)

    page = get(viewer, "list", page=2)
    older = re.search(r'href="(\?until=[^"]+)" rel="next">Older', page)[1]
    following = viewer.get(reverse("admin:gearman_list") + older).content.decode()

    assert "3–3 of 5" in page
    for number in (2, 3):
        assert f"number {number}." in following
    assert "number 1." not in following


def test_groups_have_pages(viewer, monkeypatch):
    monkeypatch.setattr(failures, "GROUPS", 2)
    for name in ("a.a", "b.b", "c.c"):
        failed(name)

    first, second = get(viewer, "failures"), get(viewer, "failures", page=2)

    assert "3 failed jobs in 3 groups" in text_of(first)
    assert ("c.c" in first, "Smaller groups" in first, "Larger groups" in first) == (0, 1, 0)
    assert ("c.c" in second, "Smaller groups" in second, "Larger groups" in second) == (1, 0, 1)
    for page in ("0", "-1", "99", "x"):
        get(viewer, "failures", page=page)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"since": "yesterday"}, "neither a time like"),
        ({"since": "2026-02-30"}, "neither a time like"),
        ({"since": "0001-01-01"}, "since: "),
        ({"until": "9999-12-31T23:59"}, "until: "),
        ({"status": "LOST"}, "LOST is not a status"),
        ({"job": "x" * 500}, "is too long"),
    ],
)
def test_an_invalid_filter_is_named(viewer, query, problem):
    failed()

    page = get(viewer, "list", **query)

    assert problem in page
    assert "gearman-rows" not in page


@pytest.mark.parametrize("value", ["\0", "\ud83d", "%00", "';--", "é" * 100, "../..", "{{ 1 }}"])
def test_any_text_may_stand_in_a_filter(viewer, value):
    failed()
    value = value.encode("utf-8", "replace").decode()

    for name in ("failures", "list"):
        for parameter in ("job", "exception", "queue", "fingerprint", "page"):
            page = get(viewer, name, **{parameter: value})
            assert parameter == "page" or "shop.pay</a>" not in page


def test_a_job_is_found_by_its_id(viewer):
    record = failed()

    found = viewer.get(reverse("admin:gearman_find"), {"id": f" {record.pk} "})
    missing = viewer.get(reverse("admin:gearman_find"), {"id": "nope"}, follow=True)

    assert found["Location"] == reverse("admin:gearman_job", args=[record.pk])
    assert "There is no record of the job nope." in missing.content.decode()
    for text in ("", "\0", "x" * 3000):
        assert viewer.get(reverse("admin:gearman_find"), {"id": text}).status_code == 302


@pytest.mark.parametrize("name", ["failures", "list"])
def test_the_number_of_queries_does_not_grow_with_the_rows(
    viewer, name, django_assert_max_num_queries, django_assert_num_queries
):
    failed("first")
    with django_assert_max_num_queries(10) as few:
        get(viewer, name)
    for number in range(60):
        failed(f"shop.job{number}", ago=number)

    with django_assert_num_queries(len(few.captured_queries)):
        get(viewer, name)


def test_foreign_text_is_escaped_everywhere(viewer):
    error = {
        "exception": XSS,
        "message": XSS,
        "traceback": f'  File "{XSS}", line 1, in {XSS}\n{XSS}',
    }
    record = failed(
        XSS,
        XSS,
        queue=XSS,
        call=f'{{"args": ["{XSS[:20]}"], "kwargs": {{}}}}',
        context={XSS: XSS},
        worker_ids=[XSS],
        handle=XSS,
        unique=XSS,
        errors=[{**error, "at": XSS, "worker": XSS, "attempt": XSS, "seconds": XSS}],
    )

    for page in (
        get(viewer, "failures", job=XSS),
        get(viewer, "list", exception=XSS, queue=XSS),
        get(viewer, "job", record.pk),
        get(viewer, "list", status=XSS),
    ):
        assert "<script>alert" not in page
        assert "<img" not in page.partition("<main")[2]
        assert "&lt;script&gt;alert" in page


def test_secrets_are_in_no_page(gearman_worker, staff):
    everything = staff("view_jobrecord", "view_call", "retry_jobrecord", "discard_jobrecord")
    jobs.pay.do_background("4000 1234", 7, password="sesame")
    jobs.keeps_no_arguments.do_background("Ada Lovelace")
    gearman_worker.run()

    pages = [get(everything, "failures"), get(everything, "list")]
    pages += [get(everything, "job", each.pk) for each in JobRecord.objects.all()]

    assert len(pages) == 4
    for page in pages:
        for secret in ("4000 1234", "sesame", "Lovelace"):
            assert secret not in page
    assert "amount" in pages[1] or "7" in pages[1]


DAMAGED = [
    {"errors": [{"at": "2026-02-01T00:00:00"}, {"at": "0001-01-01T00:00:00"}]},
    {"errors": "text"},
    {"errors": {"a": 1}},
    {"errors": [[], None, 3, {"message": {"a": [1]}}]},
    {"call": '{"args": 3}'},
    {"call": '{"args": '},
    {"call": "[" * 5000},
    {"call": ""},
    {"context": [1, 2]},
    {"context": "text"},
    {"worker_ids": {"a": 1}},
    {"worker_ids": [None]},
    {"workload": None},
    {"workload": b"\0\xff"},
    {"name": "no.such.job", "function": "no.such.function", "backend": "gone"},
    {"name": ""},
    {"exception": "", "fingerprint": ""},
    {"enqueued_at": None, "finished_at": None, "started_at": None, "expires_at": None},
    {"priority": 77, "attempts": 0},
    {"status": "LOST"},
    {"status": Status.SUCCESSFUL, "result": b"\xff"},
    {"status": Status.SUCCESSFUL, "result": None},
]


@pytest.mark.parametrize("columns", DAMAGED, ids=str)
def test_a_damaged_record_is_shown_all_the_same(staff, columns):
    everything = staff("view_jobrecord", "view_call", "retry_jobrecord")
    record = failed(**columns)

    get(everything, "failures")
    get(everything, "list", status=record.status if record.status != "LOST" else "FAILED")
    get(everything, "job", record.pk)
    get(everything, "job", record.pk, raw=1)


@pytest.mark.parametrize("name", ["failures", "list", "schedules"])
def test_missing_tables_are_named_with_the_remedy(staff, name, settings):
    entry = {"job": "tests.contrib.plain", "args": [1], "every": 60}
    settings.GEARMAN_SCHEDULE = {"ping": entry}
    browser = staff("view_jobrecord", "view_schedule")
    with connection.cursor() as cursor:
        for table in ("gearman_jobrecord", "gearman_schedule"):
            cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")

    response = browser.get(reverse(f"admin:gearman_{name}"))

    assert response.status_code == 503
    assert "manage.py migrate gearman_store" in response.content.decode()


def test_pages_work_without_time_zones(staff, settings):
    settings.USE_TZ = False
    browser = staff("view_jobrecord", "discard_jobrecord")
    record = failed()

    for since in ("1h", "2026-01-01", "2026-01-01T00:00:00+05:00"):
        assert "shop.pay" in get(browser, "failures", since=since)
        assert "shop.pay" in get(browser, "list", since=since)
    get(browser, "job", record.pk)
    form = {"act": "discard:all", "since": "1h"}
    asked = browser.post(reverse("admin:gearman_act"), form)
    assert "Discard 1 job?" in asked.content.decode()

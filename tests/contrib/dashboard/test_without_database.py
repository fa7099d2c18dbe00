"""Pages and actions while the store's database has no tables, or refuses to work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import InterfaceError, OperationalError, connection
from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)

BASE = "/admin/gearman_dashboard"
PAGES = [
    *(f"{BASE}/{name}/" for name in ("overview", "workers", "failures", "schedules", "jobs")),
    f"{BASE}/failures/list/?status=READY",
    f"{BASE}/failures/find/?id=1",
    f"{BASE}/failures/job/1/",
]
JOBS = {"status": "FAILED", "act": "retry:selected", "id": "1"}
ACTIONS: list[tuple[str, dict[str, str]]] = [
    (f"{BASE}/overview/pause/", {"queue": "trail"}),
    (f"{BASE}/overview/resume/", {"queue": "trail"}),
    (f"{BASE}/schedules/act/", {"act": "run", "name": "nightly"}),
    (f"{BASE}/schedules/act/", {"act": "pause", "name": "nightly"}),
    (f"{BASE}/failures/act/", JOBS),
    *(
        (f"{BASE}/failures/act/", {**JOBS, "act": act, "status": status, "confirmed": "yes"})
        for act, status in (
            ("retry:selected", "FAILED"),
            ("discard:all", "FAILED"),
            ("cancel:selected", "READY"),
        )
    ),
]


@contextmanager
def without_tables() -> Iterator[str]:
    """Take the tables of both apps away."""
    tables = [name for name in connection.introspection.table_names() if "gearman_" in name]
    _rename({table: f"away_{table}" for table in tables})
    yield "manage.py migrate gearman_"
    _rename({f"away_{table}": table for table in tables})


def _rename(names: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        for before, after in names.items():
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")


@contextmanager
def refusing(kind: type[Exception]) -> Iterator[str]:
    """Make the database refuse the statements for the tables of both apps."""

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "gearman_" in sql and "django_content_type" not in sql:
            raise kind("<b>too many</b> connections")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield "&lt;b&gt;too many&lt;/b&gt; connections"


HARDSHIPS = {
    "no tables": without_tables,
    "operational": lambda: refusing(OperationalError),
    "interface": lambda: refusing(InterfaceError),
}


@pytest.fixture(params=HARDSHIPS)
def hardship(request) -> Any:
    return HARDSHIPS[request.param]


@pytest.fixture
def operator(staff, settings) -> Client:
    """Return the browser of somebody who may do all, in a project with a schedule."""
    settings.GEARMAN_SCHEDULE = {"nightly": {"job": "tests.contrib.plain", "args": [1], "every": 9}}
    rights = ("retry", "discard", "cancel", "view")
    return staff("view_schedule", "control_worker", *(f"{each}_jobrecord" for each in rights))


@pytest.mark.parametrize("address", PAGES)
def test_a_page_says_what_is_wrong_with_the_database(operator, hardship, address):
    with hardship() as reason:
        answer = operator.get(address)

    assert answer.status_code in (200, 503)
    page = answer.content.decode()
    assert reason in page
    assert 'class="gearman-nav"' in page, "the way to the other pages"


@pytest.mark.parametrize(("address", "fields"), ACTIONS)
def test_an_action_says_what_is_wrong_with_the_database(operator, hardship, address, fields):
    with hardship() as reason:
        answer = operator.post(address, fields, follow=True)

    assert answer.status_code in (200, 503)
    assert reason in answer.content.decode()
    assert not LogEntry.objects.exists()

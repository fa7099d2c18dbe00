"""Wrong settings are a sentence on the pages, and no error."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

PAGES = ("overview", "workers", "jobs")


def problems(browser: Client, page: str) -> str:
    """Return the page; it must have come, and say that something is wrong."""
    response = browser.get(
        f"/admin/gearman_dashboard/{page}/", {"supervisor": "web1:7", "pid": "11"}
    )
    assert response.status_code == 200
    text = response.content.decode()
    assert "gearman-note" in text or "gearman-bad" in text, "nothing is said to be wrong"
    return text


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "server",
    [
        {"host": "127.0.0.1", "tls": {"ca": "/no/such/file"}},
        {"host": "127.0.0.1", "port": 1, "tls": {"cafile": "/no/such/file"}},
        {"host": "x" * 5000},
        *("no-such-host.invalid:1", "127.0.0.1:99999", "::1", "\0:1", ("a",), None),
    ],
    ids=lambda server: repr(server)[:40],
)
def test_a_wrong_server(viewer, use, page, server):
    use(server)

    problems(viewer, page)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("backend", ["nonsense", "no.such.Class", None, 7, "memory"])
def test_a_wrong_backend(viewer, settings, page, backend):
    settings.GEARMAN_BACKEND = backend

    assert "GEARMAN_BACKEND" in problems(viewer, page)


@pytest.mark.parametrize("page", ["overview", "jobs"])
@pytest.mark.parametrize("name", ["{other}", lambda name: "same", lambda name: 1 / 0, 7])
def test_wrong_names_of_functions(viewer, settings, page, name: Any):
    settings.GEARMAN_JOB_NAME = name

    assert "GEARMAN_JOB_NAME" in problems(viewer, page)


@pytest.mark.parametrize(
    ("page", "action", "fields"),
    [
        ("workers", "reload", {"supervisor": "web1:7"}),
        ("overview", "pause", {"queue": "default"}),
    ],
)
def test_an_action_with_a_wrong_server(staff, use, page, action, fields):
    use("127.0.0.1:99999")
    browser = staff("view_jobrecord", "control_worker")

    answer = browser.post(f"/admin/gearman_dashboard/{page}/{action}/", fields, follow=True)

    assert answer.status_code == 200
    assert "not a port number" in answer.content.decode()

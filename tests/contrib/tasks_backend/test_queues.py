"""The queues of TASKS, for workers and checks."""

from __future__ import annotations

import re

import pytest
from django.core.checks import run_checks

from django_gearman.checks import check_routes
from django_gearman.contrib.tasks_backend import GearmanTaskBackend, gearman_backends
from django_gearman.exceptions import JobNotRegistered
from django_gearman.jobs.functions import functions_of
from django_gearman.jobs.registry import JobRegistry, registry
from tests.contrib.tasks_backend import work

BACKEND = "django_gearman.contrib.tasks_backend.GearmanTaskBackend"


def names(jobs):
    return [job.name for job in jobs if job.name.startswith("django.tasks:")]


@pytest.fixture
def closed(settings):
    """TASKS without a backend that takes any queue."""
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": ["default", "mail"]}}


def test_a_worker_without_q_serves_every_queue(closed):
    assert names(registry.select(None)) == [
        "django.tasks:default:default",
        "django.tasks:default:mail",
    ]


def test_q_chooses_a_queue_of_tasks_too(closed):
    assert names(registry.select(["mail"])) == ["django.tasks:default:mail"]
    assert names(registry.select(["mail", "*"])) == names(registry.select(None))


def test_tasks_and_jobs_may_share_a_queue(closed):
    found = {job.name for job in registry.select(["default"])}

    assert "django.tasks:default:default" in found
    assert len(found) > 1


def test_a_queue_that_does_not_exist_is_an_error(closed):
    with pytest.raises(ValueError, match=r"no job is in queue 'post'; the queues are .*mail"):
        registry.select(["post"])


def test_a_backend_without_queues_serves_those_that_the_worker_names():
    assert "django.tasks:open:post" in names(registry.select(["post"]))
    assert "django.tasks:open:mail" in names(registry.select(["mail"]))
    assert "django.tasks:open:unused" not in names(registry.select(None))


def test_only_backends_of_this_class_have_jobs(settings):
    settings.TASKS = {
        "default": {"BACKEND": "tests.contrib.tasks_backend.work.OwnBackend"},
        "other": {"BACKEND": "django_gearman.contrib.tasks_backend.GearmanDummyBackend"},
        "missing": {"BACKEND": "no.such.Backend"},
        "wrong": {"QUEUES": ["x"]},
    }

    assert [each.alias for each in gearman_backends()] == ["default"]
    assert names(registry.jobs()) == ["django.tasks:default:default"]


def test_jobs_have_the_names_of_the_project(closed, settings):
    settings.GEARMAN_JOB_NAME = "shop.{name}"

    assert "shop.django.tasks:default:mail" in functions_of(registry.select(["mail"]))


def test_unknown_names_stay_unknown(closed):
    for name in ("django.tasks:default:post", "django.tasks:other:mail", "django.tasks", "mail"):
        with pytest.raises(JobNotRegistered):
            registry.get(name)


def test_a_registry_without_sources_is_as_before():
    assert JobRegistry().find("x") is None


def test_tasks_run_in_the_order_of_the_worker_s_queues(tasks, ran, gearman_worker):
    work.send_mail.enqueue("a")
    work.echo.enqueue("b")

    assert gearman_worker.run(queue="mail") == 1
    assert ran == [("mail", "a")]
    assert gearman_worker.run(queue="default") == 1


def test_a_backend_without_queues_runs_its_tasks(tasks, ran, gearman_worker):
    work.in_open_queue.enqueue(1)

    assert gearman_worker.run(queue="anything-at-all") == 1
    assert ran == [1]


# Checks


@pytest.mark.django_db
def test_these_settings_have_no_faults():
    ours = re.compile(r"django_gearman\.[EW]1\d\d")
    assert [each for each in run_checks() if ours.fullmatch(each.id or "")] == []


def test_queues_without_a_worker_are_found(closed, settings):
    settings.GEARMAN_WORKERS = ["-q default"]

    assert "job django.tasks:default:mail -> queue mail" in str(check_routes())


@pytest.mark.parametrize(
    ("workers", "found"),
    [(None, ["django_gearman.W101"]), (["-w 2"], ["django_gearman.W101"]), (["-q mail"], [])],
)
def test_any_queue_needs_workers_that_name_theirs(settings, workers, found, production):
    settings.GEARMAN_BACKEND, settings.GEARMAN_WORKERS = "gearman", workers
    backend = GearmanTaskBackend("open", {"QUEUES": []})

    checks = backend.check()

    assert [each.id for each in checks] == found
    assert all("-q NAME" in each.hint for each in checks)


@pytest.mark.parametrize(
    ("queues", "message"),
    [
        ("mail", "'mail', which is not a list of names"),
        (["a b"], "'a b' is not a queue name"),
        (["*"], "reads '\\*' as all queues"),
        (["mail:2"], "'mail:2' is not a queue name"),
        ([""], "is not a queue name"),
        (["\n"], "is not a queue name"),
        ([1], "which is not a list of names"),
        (["x" * 256], "longer than"),
        (["mail@delayed"], "reserved"),
        (5, "which is not a list of names"),
        (None, "which is not a list of names"),
    ],
)
def test_checks_find_wrong_queues(queues, message):
    params = {"QUEUES": queues}
    if queues in (5, None):  # Django's own constructor fails
        from django_gearman.contrib.tasks_backend.checks import check_backend

        found = check_backend("default", params)
    else:
        found = GearmanTaskBackend("default", params).check()

    assert [each.id for each in found] == ["django_gearman.E101"]
    assert re.search(message, found[0].msg)


@pytest.mark.parametrize(
    ("outbox", "message"),
    [
        (1, "True, False or a database's alias, not 1"),
        ("other", "'other', but DATABASES has default"),
        ("", "'', but DATABASES has default"),
    ],
)
def test_checks_find_a_wrong_outbox(outbox, message):
    [found] = GearmanTaskBackend("default", {"OPTIONS": {"OUTBOX": outbox}}).check()

    assert found.id == "django_gearman.E103"
    assert message in found.msg


def test_checks_find_an_outbox_without_its_app(monkeypatch):
    from django_gearman.contrib.tasks_backend import checks

    monkeypatch.setattr(checks, "is_stored", lambda: False)

    [found] = GearmanTaskBackend("default", {"OPTIONS": {"OUTBOX": True}}).check()

    assert "add 'django_gearman.contrib.store' to INSTALLED_APPS" in found.msg

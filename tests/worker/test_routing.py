"""The workers that GEARMAN_WORKERS declares, and whether they serve every job."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections

from django_gearman.checks import check_routes, check_settings
from django_gearman.jobs.registry import registry
from django_gearman.worker.routing import (
    declared_workers,
    parse_processes,
    routing_errors,
    undeclared_queues,
)


def test_a_worker_is_declared_by_its_arguments(settings):
    settings.GEARMAN_WORKERS = ["-w 5 -q mail", "--queue=default -q counting -v 2", "-w2", "-q '*'"]

    assert [worker.queues for worker in declared_workers() or ()] == [
        {"mail"},
        {"default", "counting"},
        None,
        None,
    ]


def test_nothing_is_declared_unless_it_is(settings):
    assert declared_workers() is None
    assert routing_errors() == []
    assert undeclared_queues({"mail"}) == []
    assert check_routes() == []


def test_a_job_that_no_worker_serves_is_reported(settings):
    settings.GEARMAN_WORKERS = ["-w 5 -q default -q slow", "-q counting"]

    [error] = routing_errors()

    assert error == (
        "job send-mail -> queue mail: no worker serves it; workers serve: counting, default, slow"
    )
    assert check_routes()[0].id == "django_gearman.E006"


def test_no_worker_at_all_serves_nothing(settings):
    settings.GEARMAN_WORKERS = []

    errors = routing_errors()

    assert len(errors) == sum(len(jobs) for jobs in registry.queues().values())
    assert all(error.endswith("workers serve: no queue") for error in errors)


def test_a_worker_that_could_not_start_is_reported(settings):
    settings.GEARMAN_WORKERS = ["-w 5", "-q mial"]

    assert routing_errors() == [
        "worker '-q mial' cannot start: no job is in queue 'mial'; "
        f"the queues are {', '.join(registry.queues())}"
    ]


@pytest.mark.parametrize(
    "workers", [["-w 5"], ["-q '*'"], ["-q mail -q default -q counting -q slow"]]
)
def test_workers_that_serve_all_queues_are_fine(settings, workers):
    settings.GEARMAN_WORKERS = workers

    assert routing_errors() == []
    assert undeclared_queues({"mail", "default"}) == []


def test_queues_that_no_declared_worker_serves_are_found(settings):
    settings.GEARMAN_WORKERS = ["-q mail", "-q default"]

    assert undeclared_queues({"mail", "counting"}) == ["counting"]


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ("-w 5 -q mail", "must be a list"),
        (5, "must be a list"),
        ([5], "must be a list"),
        (["-w 0"], "not a whole number above 0"),
        (["-x"], "unrecognized arguments: -x"),
        (["mail"], "unrecognized arguments: mail"),
        (["-q"], "expected one argument"),
        (["-q 'mail"], "No closing quotation"),
        (["--help"], "is not what gearman_worker takes"),
        (["-w 5 -q mail:2"], "has a number of processes of its own"),
        (["-q mail:0"], "1 process or more"),
        (["--threads 0"], "not a whole number above 0"),
        (["--threads 10001"], "--threads: 10001 is too many; the limit is 10000"),
        (["-q mail:2x10001"], "-q mail:2x10001: 10001 is too many; the limit is 10000"),
        (["-w 100000"], "-w: 100000 is too many; the limit is 10000 processes"),
        (["-q mail:100000"], "-q mail:100000: 100000 is too many; the limit is 10000 processes"),
    ],
)
def test_a_check_finds_queues_that_no_worker_serves(settings, workers, words):
    settings.GEARMAN_WORKERS = workers

    [error] = check_settings()

    assert error.id == "django_gearman.E005"
    assert "GEARMAN_WORKERS" in error.msg
    assert words in error.msg
    assert check_routes() == []


def test_routes_are_checked_before_a_deployment(settings):
    settings.GEARMAN_WORKERS = ["-q default"]

    call_command("check")
    with pytest.raises(SystemCheckError, match=r"job send-mail -> queue mail: no worker serves it"):
        call_command("check", "--deploy")


# Threads


def planned(*arguments):
    return [(each.name, each.threads) for each in parse_processes(*arguments)]


def test_each_process_has_as_many_threads_as_asked_for():
    assert planned(None, None) == [("worker 1", 1)]
    assert planned(2, None, 20) == [("worker 1", 20), ("worker 2", 20)]
    assert planned(None, ["mail"], 20) == [("worker 1", 20)]


def test_a_queue_may_have_threads_of_its_own():
    assert planned(None, ["mail:2x20", "default:1"], 4) == [
        ("worker mail 1", 20),
        ("worker mail 2", 20),
        ("worker default 1", 4),
    ]


def test_processes_of_one_queue_may_differ_in_threads_and_not_in_name():
    assert planned(None, ["mail:1x20", "mail:1"]) == [("worker mail 1", 20), ("worker mail 2", 1)]
    assert planned(None, ["mail:1x3", "mail:1x3"]) == [("worker mail 1", 3), ("worker mail 2", 3)]


@pytest.mark.parametrize(
    "text",
    [
        *("mail:2x0", "mail:0x2", "mail:x20", "mail:2x", "mail:2x-1", "mail:2X20", "mail:2x2x2"),
        *("mail:2x 3", "mail:٢x٣", "mail:1e3x2", "mail:2x20.5", f"mail:2x{10**30}", "mail:2*20"),
    ],
)
def test_a_queue_with_bad_numbers_is_refused(text):
    with pytest.raises(ValueError, match=r"^-q ") as error:
        planned(None, [text])

    assert text in str(error.value)


# Databases with a pool


@pytest.fixture
def pool(monkeypatch):
    """Set the pool of the database "default"."""

    def give(options):
        own = connections.settings["default"]
        monkeypatch.setitem(own, "OPTIONS", {**own["OPTIONS"], "pool": options})

    return give


@pytest.mark.parametrize(
    ("options", "most"),
    [
        (True, 4),
        ({"max_size": 10}, 10),
        ({"min_size": 6}, 6),
        ({"min_size": 2, "max_size": 19}, 19),
        ({"min": 1, "max": 8}, 8),
    ],
)
def test_a_pool_that_is_smaller_than_the_threads_is_a_warning(settings, pool, options, most):
    pool(options)
    settings.GEARMAN_WORKERS = ["-q mail:2x20", "-q default"]

    [warning] = check_settings()

    assert warning.id == "django_gearman.W004"
    assert f"up to 20 jobs at a time, but the pool of database 'default' has at most {most}" in (
        warning.msg
    )


@pytest.mark.parametrize("options", [False, None, {}, {"max_size": 20}, {"max_size": "?"}])
def test_a_pool_that_is_large_enough_or_unknown_is_fine(settings, pool, options):
    pool(options)
    settings.GEARMAN_WORKERS = ["--threads 20"]

    assert check_settings() == []


def test_a_pool_does_not_matter_without_threads(settings, pool):
    pool({"max_size": 1})
    settings.GEARMAN_WORKERS = ["-w 50"]

    assert check_settings() == []

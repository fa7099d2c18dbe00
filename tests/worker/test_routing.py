"""The workers that GEARMAN_WORKERS declares, and whether they serve every job."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_gearman.checks import check_routes, check_settings
from django_gearman.jobs.registry import registry
from django_gearman.worker.routing import declared_workers, routing_errors, undeclared_queues


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
def test_a_fleet_that_serves_all_is_fine(settings, workers):
    settings.GEARMAN_WORKERS = workers

    assert routing_errors() == []
    assert undeclared_queues({"mail", "default"}) == []


def test_queues_outside_the_fleet_are_found(settings):
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

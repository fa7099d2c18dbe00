from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from django_gearman import gearman_job
from django_gearman.jobs.registry import JobRegistry
from django_gearman.management.commands import gearman_list_tasks


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("gearman_list_tasks", *arguments, stdout=output)
    return output.getvalue()


def row(output: str, name: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.startswith(f"{name} "))


def test_jobs_are_listed_with_their_options_and_places():
    head, *lines = run().splitlines()

    assert head.split() == ["JOB", "QUEUE", "TIMEOUT", "RETRIES", "ASYNC", "FILE"]
    found = row("\n".join(lines), "send-mail")
    assert found[:5] == ["send-mail", "mail", "-", "-", "no"]
    file, _, number = found[5].rpartition(":")
    assert file == "tests/app/gearman_jobs.py"
    assert number.isdigit()


def test_jobs_are_listed_by_queue():
    queues = [line.split()[1] for line in run().splitlines()[1:]]

    assert queues == sorted(queues)
    assert len(set(queues)) > 1


def test_the_default_time_limit_is_shown(settings):
    settings.GEARMAN_JOB_TIMEOUT = 90

    assert "90 s" in " ".join(row(run(), "send-mail"))


def test_a_wrong_default_is_reported(settings):
    settings.GEARMAN_JOB_TIMEOUT = "soon"

    with pytest.raises(CommandError, match="GEARMAN_JOB_TIMEOUT"):
        run()


def test_a_list_in_json_has_every_option():
    jobs = {job["job"]: job for job in json.loads(run("--json"))["jobs"]}

    assert set(jobs["send-mail"]) == {
        "job",
        "queue",
        "timeout",
        "retries",
        "async",
        "file",
        "line",
    }
    assert jobs["send-mail"]["queue"] == "mail"
    assert jobs["send-mail"]["file"] == "tests/app/gearman_jobs.py"


@pytest.fixture
def declared(monkeypatch) -> JobRegistry:
    """A project whose jobs are those of the test."""
    registry = JobRegistry()
    monkeypatch.setattr(gearman_list_tasks, "registry", registry)
    monkeypatch.setattr("django_gearman.decorators.registry", registry)
    return registry


def test_a_project_without_jobs_gets_a_hint_how_to_write_one(declared):
    assert "@gearman_job" in run()
    assert json.loads(run("--json")) == {"jobs": []}


def test_options_of_a_job_are_shown(declared):
    @gearman_job("images", name="größe.画像", timeout=2.5, retries=3)
    async def resize(): ...

    [_, line] = run().splitlines()

    assert line.split()[:6] == ["größe.画像", "images", "2.5", "s", "3", "yes"]


def test_the_file_is_relative_to_the_project(declared, settings, tmp_path):
    @gearman_job(name="outside")
    def job(): ...

    settings.BASE_DIR = (
        tmp_path  # of another project: this file is not inside, but in the directory
    )
    assert "tests/management/test_list_tasks.py:" in run()

    settings.BASE_DIR = __file__.rpartition("/")[0]
    assert " test_list_tasks.py:" in run()


def test_a_function_without_python_code_has_no_file(declared):
    @gearman_job(name="made")
    def job(): ...

    job.func = len  # as a compiled function, which has no lines

    assert row(run(), "made")[-1] == "-"

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from ... import conf
from ...jobs.definition import JobDefinition
from ...jobs.registry import registry
from ..tables import Column, table
from ._output import OutputCommand

_COLUMNS = (
    Column("JOB", least=12),
    Column("QUEUE", least=10),
    Column("TIMEOUT", right=True),
    Column("RETRIES", right=True),
    Column("ASYNC"),
    Column("FILE", least=18),
)


class Command(OutputCommand):
    help = (
        "List the jobs of this project by queue, with the options of each and its file and line. "
        "The time limit of a job without one is GEARMAN_JOB_TIMEOUT."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="write one JSON object instead")

    def handle(self, *args: Any, **options: Any) -> None:
        default = conf.job_timeout()
        jobs = [_describe(job, default) for job in registry.jobs()]
        if options["json"]:
            self.stdout.write(json.dumps({"jobs": jobs}, indent=2))
        elif not jobs:
            self.say(
                "No jobs. Add a function with @gearman_job to gearman_jobs.py of an installed app."
            )
        else:
            head, *lines = table(_COLUMNS, [_cells(job) for job in jobs], self.width)
            self.say(head, self.style.MIGRATE_HEADING)
            for line in lines:
                self.say(line)


def _describe(job: JobDefinition, default_timeout: float | None) -> dict[str, Any]:
    file, line = job.source or (None, None)
    return {
        "job": job.name,
        "queue": job.queue,
        "timeout": default_timeout if job.timeout is None else job.timeout,
        "retries": job.retries,
        "async": job.is_async,
        "file": file and _relative(file),
        "line": line,
    }


def _cells(job: dict[str, Any]) -> list[str]:
    return [
        job["job"],
        job["queue"],
        "-" if job["timeout"] is None else f"{job['timeout']:g} s",
        "-" if job["retries"] is None else str(job["retries"]),
        "yes" if job["async"] else "no",
        f"{job['file']}:{job['line']}" if job["file"] else "-",
    ]


def _relative(file: str) -> str:
    """Return a file's path relative to the project, if it is inside it."""
    for folder in (getattr(settings, "BASE_DIR", None), os.curdir):
        if folder and Path(file).is_relative_to(path := Path(folder).absolute()):
            return str(Path(file).relative_to(path))
    return file

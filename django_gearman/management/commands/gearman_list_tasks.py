from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ...jobs.registry import registry
from ._output import write_line


class Command(BaseCommand):
    help = "List the jobs of this project by queue, with the file and line of each."

    def handle(self, *args: Any, **options: Any) -> None:
        queues = registry.queues()
        if not queues:
            write_line(
                self.stdout,
                "No jobs. Write a function with @gearman_job into "
                "gearman_jobs.py of an installed app.",
            )
        for queue, jobs in queues.items():
            write_line(self.stdout, f"{queue}:")
            for job in jobs:
                write_line(self.stdout, f"  {job.name}  {job.location}")

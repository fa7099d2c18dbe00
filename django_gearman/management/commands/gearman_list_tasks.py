from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ...jobs.registry import registry
from ._output import write_line


class Command(BaseCommand):
    help = "List the jobs of this project by queue, and where each is written."

    def handle(self, *args: Any, **options: Any) -> None:
        queues = registry.queues()
        if not queues:
            write_line(self.stdout, "No jobs: write them into gearman_jobs.py of an installed app.")
        for queue, jobs in queues.items():
            write_line(self.stdout, f"{queue}:")
            for job in jobs:
                write_line(self.stdout, f"  {job.name}  {job.location}")

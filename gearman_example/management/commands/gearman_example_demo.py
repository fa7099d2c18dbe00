"""Seven acts of background jobs in one terminal."""

import os
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.test.utils import override_settings

from django_gearman.exceptions import BackendError, JobError
from gearman_example.demo.acts import ACTS, Unexpected
from gearman_example.demo.stage import Stage, free_address


class Command(BaseCommand):
    help = (
        "Show seven acts of background jobs, with a job server, worker processes and a client in "
        "one terminal. -v 2 shows tracebacks. Exits with 1 if an outcome is not as expected."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        is_plain = options["no_color"] or os.environ.get("NO_COLOR") or not self.stdout.isatty()
        colours = bool(options["force_color"] or not is_plain)
        stage = Stage(self.stdout, colours=colours, verbosity=options["verbosity"])
        began = time.monotonic()
        address = free_address()
        stage.title("django-gearman demo: a job server, 3 worker processes and this client")
        try:
            with (
                stage.worker(address),
                override_settings(GEARMAN_BACKEND="gearman", GEARMAN_SERVERS=[address]),
            ):
                failed = [
                    number for number, act in enumerate(ACTS, 1) if not self._play(stage, number)
                ]
        except KeyboardInterrupt:
            raise CommandError("stopped", returncode=130) from None
        if failed:
            raise CommandError(f"act {', '.join(map(str, failed))} did not go as expected")
        took = time.monotonic() - began
        stage.title(f"All {len(ACTS)} acts went as expected, in {took:.1f} s.")
        stage.title("Next: read docs/tutorial, or run a site with jobs in a browser: make demo-web")

    def _play(self, stage: Stage, number: int) -> bool:
        """Play an act; return True if its outcome is as expected."""
        act = ACTS[number - 1]
        stage.title(f"{number}. {act.__doc__}")
        try:
            act(stage)
        except (Unexpected, JobError, BackendError) as error:
            stage.say("client", f"FAILED: {error}")
            return False
        return True

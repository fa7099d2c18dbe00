"""A client that submits the example's jobs, and shows their outcomes."""

import threading
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_gearman import GearmanClient, GearmanWorker
from django_gearman.exceptions import BackendError, JobRaised
from gearman_example.gearman_jobs import background_counting, divide, paint

SENTENCE = "The quick brown fox jumps over the lazy dog."


class Command(BaseCommand):
    help = "Submit the example's jobs. Start `gearman_worker --with-server -w 4` in another shell first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--workers",
            type=int,
            default=0,
            metavar="N",
            help="run N workers as threads of this process; for GEARMAN_BACKEND=memory",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        workers = [GearmanWorker() for _ in range(options["workers"])]
        threads = [threading.Thread(target=worker.work) for worker in workers]
        for thread in threads:
            thread.start()
        try:
            self.submit()
            if workers:
                self.wait_for_background_jobs()
        except BackendError as error:
            raise CommandError(str(error)) from error
        finally:
            for worker in workers:
                worker.stop()
            for thread in threads:
                thread.join()

    def submit(self) -> None:
        self.client = GearmanClient()

        self.say(f"foreground: reverse {SENTENCE!r}")
        request = self.client.submit_job("gearman_example.reverse", SENTENCE)
        self.say(f"the result is {request.result!r}")

        self.say("background: four counting jobs")
        self.background = [
            self.client.dispatch_background_task("gearman_example.background_counting", number)
            for number in (1, 2, 3)
        ]
        self.background.append(background_counting.do_background(4))

        self.say("foreground, with progress: paint 4 fences")
        request = self.client.submit_job(paint, 4, wait_until_complete=False)
        for _ in request.updates():
            if request.status and not request.complete:
                self.say(f"{request.status['numerator']} of {request.status['denominator']}")
        self.say(f"the result is {request.result!r}")

        self.say("foreground, failing: divide 1 by 0")
        try:
            divide.do(1, 0)
        except JobRaised as error:
            self.say(f"it failed, and says why: {error}")
        self.say("done; the background jobs continue without this client")

    def wait_for_background_jobs(self) -> None:
        while any(self.client.get_job_status(job).status["known"] for job in self.background):
            time.sleep(0.05)

    def say(self, text: str) -> None:
        self.stdout.write(f"[client] {text}")
        self.stdout.flush()

"""A record of each job of the site, written where jobs are submitted and where they run."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.utils import timezone

from django_gearman import JobRequest
from django_gearman.middleware import Middleware, Proceed, Submit
from django_gearman.signals import submit_failed

from .models import Job


class RecordJobs(Middleware):
    """The middleware that writes the rows of `Job`; GEARMAN_MIDDLEWARE names it."""

    def around_submit(self, requests: list[JobRequest], submit: Submit) -> None:
        """Write the rows in the transaction of the request; its commit sends the jobs."""
        Job.objects.bulk_create(
            Job(id=each.id, name=each.task, arguments=", ".join(map(repr, each.call.args)))
            for each in requests
        )
        submit(requests)

    def around_run(self, run: Any, proceed: Proceed) -> Any:
        """Note the beginning and the ending of each attempt. A retry has the id of its job."""
        job = Job.objects.filter(id=run.id)
        job.update(state=Job.State.RUNNING, handle=run.handle, attempt=run.attempt)
        ending = proceed()
        error = ending.exception and f"{type(ending.exception).__name__}: {ending.exception}"
        if ending.state == "succeeded":
            job.update(state=Job.State.DONE, result=ending.result, finished_at=timezone.now())
        elif ending.state == "retried":
            job.update(state=Job.State.QUEUED, error=f"Attempt {run.attempt} failed. {error}")
        else:
            job.update(state=Job.State.FAILED, error=error, finished_at=timezone.now())
        return ending


@receiver(submit_failed)
def note_failed_submission(request: JobRequest, exception: Exception, **_: Any) -> None:
    """Note a job that could not be sent after the commit, because no job server answered."""
    Job.objects.filter(id=request.id).update(
        state=Job.State.FAILED, error=str(exception), finished_at=timezone.now()
    )

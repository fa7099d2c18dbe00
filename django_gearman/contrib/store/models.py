"""The tables of the store, the outbox and the schedules."""

from __future__ import annotations

from django.db import models

from .fields import KeyField
from .functions import DatabaseTime

#: Seconds for which a new row of the outbox is left to the process that wrote it.
FAST_PATH_SECONDS = 5
#: The longest name of an exception's class, in characters.
MAX_EXCEPTION = 200


class JobRecord(models.Model):
    """
    The record of a job, through all its attempts.

    `workload` has the exact bytes of the last attempt, which a retry sends again. `call` and
    `context` are for people: secrets are replaced by asterisks in both.
    """

    class Status(models.TextChoices):
        READY = "READY"
        RUNNING = "RUNNING"
        SUCCESSFUL = "SUCCESSFUL"
        FAILED = "FAILED"
        CANCELLED = "CANCELLED"

    id = KeyField(primary_key=True, max_length=63)
    name = models.CharField(max_length=255)
    queue = models.CharField(max_length=255, default="")
    #: An alias of TASKS; "" for jobs of `@gearman_job`.
    backend = models.CharField(max_length=64, default="")
    #: The name of the job on the job server.
    function = models.CharField(max_length=255)
    status = models.CharField(max_length=10, choices=Status, default=Status.READY)
    call = models.TextField(default="")
    #: None if the job keeps no arguments.
    workload = models.BinaryField(null=True)
    #: The submitter's unique; "" if there is none.
    unique = models.CharField(max_length=255, default="")
    priority = models.SmallIntegerField(default=0)
    run_after = models.DateTimeField(null=True)
    context = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField(default=0)
    #: The number of claims. Later writes name it, so those of an older claim change nothing.
    run = models.PositiveIntegerField(default=0)
    worker_ids = models.JSONField(default=list)
    #: One entry an attempt: exception, message, traceback, attempt, at, worker, seconds.
    errors = models.JSONField(default=list)
    #: The class of the last error.
    exception = models.CharField(max_length=MAX_EXCEPTION, default="")
    #: The same for failures of one job, exception class and place in its code.
    fingerprint = models.CharField(max_length=16, default="")
    #: As the job's serializer writes it; None if there is none.
    result = models.BinaryField(null=True)
    handle = models.CharField(max_length=255, default="")
    enqueued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    last_attempted_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    #: The time at which a user has cancelled the job.
    cancelled_at = models.DateTimeField(null=True)
    #: The time from which the row may be deleted; None for a job that has not ended.
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "gearman_jobrecord"
        verbose_name = "job"
        permissions = (
            ("retry_jobrecord", "Can run failed jobs again"),
            ("discard_jobrecord", "Can discard failed jobs"),
            ("cancel_jobrecord", "Can cancel jobs"),
            ("control_worker", "Can control workers, queues and schedules"),
            ("view_call", "Can view the arguments of jobs"),
        )
        indexes = (
            models.Index(fields=["expires_at"], name="gearman_jobrecord_expires"),
            # Each filter of a list, and each group of failures, is found in one of these indexes
            # alone. They are no partial indexes, which MySQL does not have; there, the columns of
            # an index have up to 768 characters.
            models.Index(
                fields=["status", "enqueued_at", "queue", "name", "run_after"],
                name="gearman_jobrecord_waiting",
            ),
            models.Index(
                fields=["status", "finished_at", "queue", "name", "exception", "fingerprint"],
                name="gearman_jobrecord_ended",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class OutboxJob(models.Model):
    """
    A job that waits to be sent to the job server.

    It is written in the transaction of its submitter. Several rows may have the same job id and
    unique: jobs with the same unique share one job on the job server, and perhaps their id.
    """

    id = models.BigAutoField(primary_key=True)
    job_id = models.CharField(max_length=63)
    function = models.CharField(max_length=512)
    unique = models.CharField(max_length=63)
    workload = models.BinaryField()
    #: -1, 0 or 1.
    priority = models.SmallIntegerField(default=0)
    #: The time to run, in seconds since the epoch.
    run_at = models.FloatField(null=True)
    #: The job is for workers of another program.
    external = models.BooleanField(default=False)
    #: The job servers of the client, as JSON; "" for those of the settings.
    servers = models.TextField(default="")
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(default="")
    #: The time from which a relay sends the row; None for a row that is stuck.
    next_try_at = models.DateTimeField(
        null=True, db_index=True, db_default=DatabaseTime(seconds=FAST_PATH_SECONDS)
    )
    created_at = models.DateTimeField(db_default=DatabaseTime())

    class Meta:
        db_table = "gearman_outbox"
        verbose_name = "job in the outbox"
        verbose_name_plural = "jobs in the outbox"

    def __str__(self) -> str:
        return f"{self.function} {self.job_id}"


class Schedule(models.Model):
    """
    A schedule that a scheduler has seen, and its pause.

    `starts` has a time for each timing of the schedule, by its digest, in seconds since the epoch.
    Ticks up to that time are not made up: the timing was not known then, or the schedule was paused.
    """

    name = models.CharField(primary_key=True, max_length=255)
    first_seen = models.DateTimeField(db_default=DatabaseTime())
    starts = models.JSONField(default=dict)
    #: The name of the user; "" if the schedule is not paused.
    paused_by = models.CharField(max_length=255, default="")
    paused_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "gearman_schedule"

    def __str__(self) -> str:
        return self.name


class PausedQueue(models.Model):
    """A queue whose jobs wait, because a user has paused it."""

    queue = models.CharField(primary_key=True, max_length=255)
    paused_by = models.CharField(max_length=255, default="")
    paused_at = models.DateTimeField(db_default=DatabaseTime())

    class Meta:
        db_table = "gearman_pausedqueue"

    def __str__(self) -> str:
        return self.queue


class Tick(models.Model):
    """A time at which a schedule was due, written with the outbox row of its job."""

    id = models.BigAutoField(primary_key=True)
    schedule = models.CharField(max_length=255)
    due_at = models.DateTimeField()
    job_id = models.CharField(max_length=63)
    created_at = models.DateTimeField(db_default=DatabaseTime())

    class Meta:
        db_table = "gearman_tick"
        constraints = (
            models.UniqueConstraint(fields=["schedule", "due_at"], name="gearman_tick_once"),
        )

    def __str__(self) -> str:
        return f"{self.schedule} {self.due_at}"

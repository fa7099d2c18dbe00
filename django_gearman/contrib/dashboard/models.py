"""The pages, as models without a table, and the samples that their sparklines show."""

from __future__ import annotations

from django.db import models


class Page(models.Model):
    """A page of the admin. There is no table and no row."""

    class Meta:
        abstract = True
        managed = False
        default_permissions = ()


class Overview(Page):
    """Job servers and queues."""

    class Meta(Page.Meta):
        verbose_name = verbose_name_plural = "overview"


class Workers(Page):
    """Supervisors and their processes."""

    class Meta(Page.Meta):
        verbose_name = verbose_name_plural = "workers"


class Failures(Page):
    """Jobs that have failed."""

    class Meta(Page.Meta):
        verbose_name = verbose_name_plural = "failures"


class Schedules(Page):
    """Periodic jobs."""

    class Meta(Page.Meta):
        verbose_name = verbose_name_plural = "schedules"


class Jobs(Page):
    """Declared jobs."""

    class Meta(Page.Meta):
        verbose_name = verbose_name_plural = "jobs"


#: In the order of the navigation.
PAGES: tuple[type[Page], ...] = (Overview, Workers, Failures, Schedules, Jobs)


class JobServer(models.Model):
    """A job server, and the last time at which it has answered when the queues were sampled."""

    address = models.CharField(primary_key=True, max_length=255)
    answered_at = models.DateTimeField()

    class Meta:
        db_table = "gearman_jobserver"
        default_permissions = ()

    def __str__(self) -> str:
        return self.address


class QueueSample(models.Model):
    """The jobs of a queue in a minute, over all job servers."""

    id = models.BigAutoField(primary_key=True)
    queue = models.CharField(max_length=255)
    minute = models.DateTimeField()
    waiting = models.PositiveIntegerField()
    running = models.PositiveIntegerField()
    workers = models.PositiveIntegerField()

    class Meta:
        db_table = "gearman_queuesample"
        default_permissions = ()
        constraints = (
            # The minute comes first: what is read and deleted is a range of minutes.
            models.UniqueConstraint(fields=["minute", "queue"], name="gearman_queuesample_once"),
        )

    def __str__(self) -> str:
        return f"{self.queue} {self.minute}"

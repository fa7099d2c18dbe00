"""The shop's tables: pictures, imports and products; and the jobs, which the store records."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from django_gearman import GearmanClient
from django_gearman.contrib.store.models import JobRecord
from django_gearman.exceptions import BackendError


class Job(JobRecord):
    """A job of this site, as the store of django-gearman records it."""

    class Meta:
        proxy = True
        ordering = ("-enqueued_at",)

    def __str__(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def state(self) -> str:
        """The state of the job in one word."""
        words = {self.Status.READY: "queued", self.Status.SUCCESSFUL: "done"}
        return words.get(self.Status(self.status), self.status.lower())

    @property
    def is_active(self) -> bool:
        return self.status in (self.Status.READY, self.Status.RUNNING)

    @property
    def text(self) -> str:
        """The result of the job, or its last error."""
        if self.status == self.Status.SUCCESSFUL:
            return str(GearmanClient().get_result(self.pk, timeout=0))
        if not self.errors:
            return ""
        last = self.errors[-1]
        return f"{last['exception']} in attempt {last['attempt']}: {last['message']}"

    def progress(self) -> dict[str, Any] | None:
        """Ask the job server how far the job is; return None if nothing is known."""
        if self.status != self.Status.RUNNING:
            return None
        try:
            status = GearmanClient().get_job_status(self.handle).status
        except BackendError:
            return None
        return status if status.denominator else None


class Upload(models.Model):
    """An uploaded file, and the job that works on it."""

    job = models.ForeignKey(Job, models.SET_NULL, null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True
        ordering = ("-created_at",)


def picture_path(picture: models.Model, filename: str) -> str:
    """Return a name that the visitor cannot choose, with the ending of the picture's format."""
    return f"pictures/{uuid.uuid4().hex}.{filename.rpartition('.')[2]}"


class Picture(Upload):
    """An uploaded picture; `make_thumbnail` adds the thumbnail."""

    name = models.CharField(max_length=100)
    image = models.ImageField(upload_to=picture_path)
    thumbnail = models.ImageField(upload_to="thumbnails", default="")

    def __str__(self) -> str:
        return self.name


class Import(Upload):
    """An uploaded CSV file; `import_products` reads it."""

    name = models.CharField(max_length=100)
    file = models.FileField(upload_to="imports")
    refused = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    """A product; the number of the article tells it from others."""

    number = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ("number",)

    def __str__(self) -> str:
        return self.name

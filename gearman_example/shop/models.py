"""The shop's tables: pictures, imports, products, and the jobs that the site has submitted."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from django_gearman import GearmanClient
from django_gearman.exceptions import BackendError


class Job(models.Model):
    """A job of this site; `records.py` keeps it up to date."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.CharField(primary_key=True, max_length=63)
    name = models.CharField(max_length=255)
    arguments = models.TextField(default="")
    state = models.CharField(max_length=7, choices=State, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    handle = models.CharField(max_length=255, default="")
    result = models.TextField(default="")
    error = models.TextField(default="")
    submitted_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-submitted_at",)

    def __str__(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def is_active(self) -> bool:
        return self.state in (self.State.QUEUED, self.State.RUNNING)

    def progress(self) -> dict[str, Any] | None:
        """Ask the job server how far the job is; return None if nothing is known."""
        if self.state != self.State.RUNNING:
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

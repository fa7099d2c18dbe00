"""The shop's jobs."""

from __future__ import annotations

import io
import time

from django.core.files.base import ContentFile
from PIL import Image, ImageOps

from django_gearman import JobContext, gearman_job

from .models import Import, Picture, Product
from .products import read_products

BATCH = 100  # products in one statement, and between two reports of progress
PAUSE = 0.03  # seconds after a batch, so that you can watch the bar


@gearman_job(timeout=60)
def make_thumbnail(picture_id: int) -> str:
    """Make the thumbnail of a picture."""
    picture = Picture.objects.get(pk=picture_id)
    with picture.image.open() as file, Image.open(file) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
        small.thumbnail((480, 480))
        small.save(buffer := io.BytesIO(), "WEBP")
        size = f"{image.width} × {image.height}"
    picture.thumbnail.save(f"{picture_id}.webp", ContentFile(buffer.getvalue()), save=False)
    picture.save(update_fields=["thumbnail"])
    return f"{size} → {small.width} × {small.height} pixels"


@gearman_job(takes_context=True, timeout=300)
def import_products(context: JobContext, import_id: int) -> str:
    """Import the products of a file, and report the progress. A second run changes nothing more."""
    uploaded = Import.objects.get(pk=import_id)
    with uploaded.file.open("rb") as file:
        lines = list(read_products(file.read()))
    products = {line.number: line for line in lines if isinstance(line, Product)}
    uploaded.refused = [line for line in lines if isinstance(line, str)]
    uploaded.save(update_fields=["refused"])
    context.set_status(0, len(products))
    for start in range(0, len(products), BATCH):
        batch = list(products.values())[start : start + BATCH]
        Product.objects.bulk_create(
            batch,
            update_conflicts=True,
            unique_fields=["number"],
            update_fields=["name", "price"],
        )
        context.set_status(start + len(batch), len(products))
        time.sleep(PAUSE)
    return f"{len(products):,} products imported, {len(uploaded.refused):,} lines refused"


@gearman_job(takes_context=True)
def fail_at_first(context: JobContext) -> str:
    """Fail on purpose, and succeed when a user retries the job."""
    if context.attempt == 1:
        raise RuntimeError("This job fails on purpose.")
    return "Now it has worked."


@gearman_job(takes_context=True, retries=2, backoff=2)
def ask_other_site(context: JobContext) -> str:
    """Fail twice on purpose, then succeed."""
    if context.attempt < 3:
        raise ConnectionError("The other site does not answer.")
    return "The other site has answered."

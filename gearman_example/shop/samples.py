"""A picture and a file, for visitors who have none."""

from __future__ import annotations

import io
import random

from django.core.files.base import ContentFile
from PIL import Image, ImageOps

from .products import COLUMNS


def sample_picture() -> ContentFile[bytes]:
    """Return a picture of a part of the Mandelbrot set, in colours that differ each time."""
    x, y = random.choice([(-0.75, 0.1), (-0.1, 0.9), (0.28, 0.01), (-1.25, 0.05)])
    fractal = Image.effect_mandelbrot((1200, 900), (x - 0.2, y - 0.15, x + 0.2, y + 0.15), 60)
    hue = random.randrange(360)
    dark, light = f"hsl({hue}, 60%, 12%)", f"hsl({(hue + 60) % 360}, 80%, 70%)"
    picture = ImageOps.colorize(fractal, dark, "white", mid=light)
    picture.save(buffer := io.BytesIO(), "JPEG")
    return ContentFile(buffer.getvalue(), "fractal.jpeg")


def sample_products(rows: int = 10_000) -> ContentFile[bytes]:
    """Return a file of products. Two of its lines are wrong."""
    things = ["Lamp", "Chair", "Desk", "Shelf", "Clock", "Mirror", "Vase", "Rug"]
    lines = [",".join(COLUMNS)]
    lines += [f"A-{n:05},{random.choice(things)} {n},{n % 90 + 9}.50" for n in range(rows - 2)]
    lines += ["A-99998,Bench,a bargain", "A-99999,Stool"]
    return ContentFile("\n".join(lines).encode(), f"{rows}-products.csv")

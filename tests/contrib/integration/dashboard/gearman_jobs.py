"""Jobs of a shop, which take as long as they are asked to."""

from __future__ import annotations

import time

from django_gearman import gearman_job


@gearman_job("mail", name="shop.send_mail", timeout=30, retries=3)
def send_mail(to: str, seconds: float = 0.0) -> None:
    time.sleep(seconds)
    if "@" not in to:
        raise ValueError(f"no address: {to}")


@gearman_job("mail", name="shop.send_newsletter", timeout=30)
def send_newsletter(number: int) -> None:
    time.sleep(0.01)


@gearman_job("images", name="shop.make_thumbnail", timeout=60)
def make_thumbnail(path: str, seconds: float = 0.0) -> None:
    time.sleep(seconds)


@gearman_job("reports", name="shop.build_report", timeout=600, retries=1, backoff=0)
def build_report(month: str, seconds: float = 0.0) -> str:
    time.sleep(seconds)
    return month


@gearman_job("payments", name="shop.charge", timeout=20, store_result=True)
def charge(order: int) -> int:
    return order


@gearman_job("search", name="shop.index_product")
def index_product(number: int) -> None:
    time.sleep(0.01)


@gearman_job("mail", name="shop.import_file")
def import_file(path: str) -> int:
    """Add a line to a file, which must exist."""
    with open(path, "r+") as file:
        lines = len(file.readlines()) + 1
        file.write("imported\n")
    return lines

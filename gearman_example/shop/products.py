"""The CSV format of the import."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from django.core.exceptions import ValidationError

from .models import Product

COLUMNS = ["number", "name", "price"]


def check_csv(content: bytes) -> None:
    """Raise ValidationError unless this is text, with the line of columns and one more."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError("This file is not text in UTF-8.") from error
    if "\0" in text:
        raise ValidationError("This file is not text: it has zero bytes.")
    try:
        header, *lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line] or [
            []
        ]
    except csv.Error as error:
        raise ValidationError(f"This file is not CSV: {error}.") from error
    if not header:
        raise ValidationError("This file is empty.")
    if header != COLUMNS:
        raise ValidationError(
            f"The first line must be “{','.join(COLUMNS)}”. It is “{','.join(header):.100}”."
        )
    if not lines:
        raise ValidationError("This file has no products: only its first line is filled.")


def read_products(content: bytes) -> Iterator[Product | str]:
    """Yield the product of each line, or the reason why the line has none."""
    lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    filled = (line for line in lines if line)
    next(filled)
    for line in filled:
        try:
            yield _product(line)
        except ValueError as error:
            yield f"Line {lines.line_num}: {error}."


def _product(line: list[str]) -> Product:
    if len(line) != len(COLUMNS):
        raise ValueError(f"{len(line)} columns, where {len(COLUMNS)} are expected")
    number, name, price = (cell.strip() for cell in line)
    for column, cell, most in (("number", number, 20), ("name", name, 100)):
        if not 1 <= len(cell) <= most:
            raise ValueError(f"the {column} has {len(cell)} characters, not 1 to {most}")
    try:
        amount = Decimal(price).quantize(Decimal("0.01"))
        is_price = 0 <= amount < 1_000_000
    except InvalidOperation:
        is_price = False
    if not is_price:
        raise ValueError(f"the price is “{price:.20}”, not a number from 0 to 999999.99")
    return Product(number=number, name=name, price=amount)

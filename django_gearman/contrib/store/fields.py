"""The fields of the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class KeyField(_CharField):
    """
    A text that is only looked up as a whole.

    On PostgreSQL, Django makes a second index of each unique text, for searches by its beginning, unless
    the type of the column has another name than "varchar".
    """

    def db_type(self, connection: Any) -> str | None:
        name: str | None = super().db_type(connection)
        if name is None or connection.vendor != "postgresql":
            return name
        return name.replace("varchar", "character varying")

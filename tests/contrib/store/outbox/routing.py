"""A database router for the tests of the outbox."""

from __future__ import annotations


class Nowhere:
    """A router that allows no table of the store."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool | None:
        return False if app_label == "gearman_store" else None

"""Databases whose pool has fewer connections than a worker process runs jobs at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connections

_DEFAULT_SIZE = 4  # of a pool of psycopg_pool without max_size and min_size


def pool_warnings(threads: int) -> Iterator[str]:
    """Yield a sentence for each database with a pool that is too small for this number of threads."""
    for alias, database in connections.settings.items():
        most = _most_connections(database.get("OPTIONS", {}).get("pool"))
        if most is not None and most < threads:
            yield (
                f"A worker process runs up to {threads} jobs at a time, but the pool of database "
                f"{alias!r} has at most {most} connections: the other jobs wait for one, and fail after "
                f'the timeout of the pool. Set max_size in OPTIONS["pool"] to {threads} or more, or '
                "use fewer threads."
            )


def _most_connections(pool: Any) -> int | None:
    """Return the size of a pool, None if there is none, or it has no limit that is known."""
    if not pool:
        return None
    options: Mapping[str, Any] = pool if isinstance(pool, Mapping) else {}
    most = options.get("max_size") or options.get("max")  # of PostgreSQL, of Oracle
    most = most or options.get("min_size", _DEFAULT_SIZE)
    return most if isinstance(most, int) else None

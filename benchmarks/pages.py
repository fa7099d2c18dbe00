"""
The admin's pages with a million records: milliseconds and queries of each.

    python -m benchmarks.pages [--vendor sqlite] [--records 1000000] [--failed 0.1]

PostgreSQL and two job servers are private ones, and a `gearman_worker` has 50 processes for 10 queues.
Each page is asked for five times by Django's test client; the table has
the fastest and the slowest of these, and the number of queries.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django_gearman.testing.gearmand import GearmanServer
from tests.support.postgres import Postgres, find_postgres


@contextmanager
def database(vendor: str) -> Iterator[dict[str, Any]]:
    """Yield the settings of a new, empty database."""
    if vendor == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            options = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
            path = str(Path(directory) / "pages.sqlite3")
            yield {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options}
        return
    programs = find_postgres()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed. Debian: apt-get install postgresql")
    with Postgres(programs) as server:
        yield {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": server.port,
            "USER": "test",
            "NAME": "postgres",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--vendor", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--failed", type=float, default=0.1, help="the share of failures, up to 1")
    options = parser.parse_args()
    with database(options.vendor) as settings, GearmanServer() as one, GearmanServer() as other:
        environment = {
            **os.environ,
            "TEST_DATABASES": json.dumps({"default": settings}),
            "TEST_GEARMAND": f"{one.address},{other.address}",
            "DJANGO_SETTINGS_MODULE": "benchmarks.page_jobs.settings",
        }
        command = [sys.executable, "-m", "benchmarks.page_times"]
        numbers = [str(options.records), str(options.failed)]
        subprocess.run([*command, *numbers], env=environment, check=True)


if __name__ == "__main__":
    main()

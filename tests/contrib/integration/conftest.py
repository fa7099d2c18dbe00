from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from tests.contrib.integration.databases import Database, Project
from tests.support.mariadb import MariaDB, find_mariadb
from tests.support.postgres import Postgres, find_postgres

VENDORS = ("sqlite", "postgresql", "mariadb")
_numbers = itertools.count(1)


def _missing(name: str) -> None:
    """Skip the test, or fail it where nothing may be missing."""
    message = f"{name} is not installed"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for the whole session."""
    programs = find_postgres()
    if programs is None:
        _missing("PostgreSQL")
    else:
        with Postgres(programs) as server:
            yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB for the whole session."""
    program = find_mariadb()
    if program is None:
        _missing("MariaDB")
    else:
        with MariaDB(program) as server:
            yield server


@pytest.fixture(params=VENDORS)
def vendor(request) -> str:
    """The kind of the test's database: each in turn, unless the test names it."""
    return request.param


@pytest.fixture
def database(vendor, request, tmp_path, django_db_blocker) -> Database:
    """A new, migrated database."""
    return new_database(vendor, request, tmp_path, django_db_blocker)


def new_database(vendor: str, request: Any, tmp_path: Any, django_db_blocker: Any) -> Database:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    if vendor == "sqlite":
        engine = "django.db.backends.sqlite3"
        config = {"ENGINE": engine, "NAME": str(tmp_path / f"{name}.sqlite3")}
        config["OPTIONS"] = {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL"}
        database = Database(vendor, config, django_db_blocker.unblock)
    else:
        server = request.getfixturevalue("postgres" if vendor == "postgresql" else "mariadb")
        config = {
            "ENGINE": f"django.db.backends.{'postgresql' if vendor == 'postgresql' else 'mysql'}",
            "HOST": "127.0.0.1",
            "PORT": server.port,
            "USER": "test",
            "NAME": "postgres" if vendor == "postgresql" else "mysql",
        }
        if vendor == "mariadb":
            config["OPTIONS"] = {"charset": "utf8mb4"}
            import pymysql

            pymysql.version_info = (2, 2, 7, "final", 0)
            pymysql.install_as_MySQLdb()
        Database(vendor, config, django_db_blocker.unblock).query(f"CREATE DATABASE {name}")
        database = Database(vendor, {**config, "NAME": name}, django_db_blocker.unblock)
    migrate(database, django_db_blocker)
    return database


def migrate(database: Database, django_db_blocker: Any) -> None:
    """Create the tables of the store in this process: a program of its own takes a second."""
    alias = f"migrating_{next(_numbers)}"
    with django_db_blocker.unblock():
        connections.settings[alias] = connections.configure_settings(
            {"default": {}, alias: database.config}
        )[alias]
        try:
            call_command("migrate", database=alias, verbosity=0, interactive=False)
        finally:
            connections[alias].close()
            del connections[alias], connections.settings[alias]


@pytest.fixture
def project(database, tmp_path, own_gearmand) -> Iterator[Project]:
    """A project with its database and its gearmand."""
    made = Project(tmp_path, database, own_gearmand.address)
    yield made
    made.close()

"""Backends of `django.tasks` as systems: those with results share a kind of database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from .. import servers
from ..clients import Agent, Environment
from ..processes import ROOT, run_to_end
from ..servers import Server
from ..systems import Command, System

VENV = ROOT / ".venv-tasks"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
#: The project's own environment, for a comparison with jobs; the peers need Python 3.12.
_OWN, _PEERS = Path(sys.executable), VENV / "bin" / "python"

_WORKERS = {
    "gearman": ["gearman_worker"],
    "stored": ["gearman_worker"],
    "outbox": ["gearman_worker"],
    "django-ox": ["ox_worker"],
    "django-tasks-db": ["db_worker", "--no-startup-delay"],
}

#: The names in the results, and the numbers of tasks: each system takes a second or two.
SYSTEMS = {
    "gearman": ("tasks", 2000),
    "stored": ("tasks, stored", 500),
    "outbox": ("tasks, outbox", 500),
    "django-ox": ("django-ox", 500),
    "django-tasks-db": ("django-tasks-db, PostgreSQL", 200),
}


def _variables(system: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "benchmarks.django_tasks.settings",
        "BENCHMARK_TASKS": system,
        "GEARMAN_BACKEND": "gearman",
    }


@contextmanager
def _with_database(system: str, python: Path) -> Iterator[Server]:
    """Run a gearmand and a PostgreSQL with the tables of a system."""
    with ExitStack() as stack:
        server = stack.enter_context(servers.gearmand())
        server.environment |= stack.enter_context(servers.postgresql()).environment
        environment = {**_variables(system), **server.environment}
        run_to_end([python, "-m", "django", "migrate"], environment)
        yield server


def _system(system: str, python: Path) -> System:
    name, _ = SYSTEMS[system]
    variables = _variables(system)

    def client(environment: Environment) -> Agent:
        path = "benchmarks.django_tasks.client:Client"
        return Agent(python, path, {**environment, **variables})

    def worker(environment: Environment, processes: int) -> Command:
        prefix = ["env", *(f"{name}={value}" for name, value in variables.items())]
        return [*prefix, python, "-m", "django", *_WORKERS[system]]

    database = partial(_with_database, system, python)
    return System(name, servers.gearmand if system == "gearman" else database, client, worker)


def own() -> System:
    """Return the backend of this project without results."""
    return _system("gearman", _OWN)


def with_results() -> list[System]:
    """Return the backends that keep results; raise FileNotFoundError if they are not installed."""
    if not (VENV / ".ready").exists():
        raise FileNotFoundError(f"{VENV.name} is not there; make peers, which needs Python 3.12")
    return [_system(system, _PEERS) for system in SYSTEMS if system != "gearman"]

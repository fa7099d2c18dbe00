"""The peers as systems: each with one worker process and its defaults for production."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .. import servers
from ..clients import Agent, Environment
from ..processes import ROOT
from ..systems import Command, System

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
VENV = ROOT / ".venv-peers"
PYTHON = VENV / "bin" / "python"
_MANAGE: list[str | Path] = [PYTHON, "-m", "django"]
_TASKS_DB = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.tasks_db.settings"}

#: The commands of the workers; jobs are on Redis.
_WORKERS = {
    "celery": ["-m", "celery", "--app", "benchmarks.peers.celery_app", "worker", "-c", "1"],
    "rq": ["-m", "rq.cli", "worker", "--url", "{REDIS_URL}"],
    "dramatiq": ["-m", "dramatiq", "benchmarks.peers.dramatiq_app", "--processes", "1"],
    "huey": ["-m", "huey.bin.huey_consumer", "benchmarks.peers.huey_app.huey"],
}

#: The numbers of jobs to drain, and to wait for: each takes a second or two.
COUNTS = {
    "celery": (2000, 200),
    "rq": (120, 100),
    "dramatiq": (2000, 200),
    "huey": (4000, 200),
    "django-tasks-db": (200, 3),
}


def installed() -> None:
    """Raise FileNotFoundError unless the peers are there."""
    if not (VENV / ".ready").exists():
        raise FileNotFoundError(f"{VENV.name} is not there; make peers")


def _on_redis(name: str) -> System:
    def worker(environment: Environment, processes: int) -> Command:
        return [PYTHON, *(part.format(**environment) for part in _WORKERS[name])]

    client = partial(Agent, PYTHON, f"benchmarks.peers.{name}_app:Client")
    return System(name, servers.redis, client, worker)


def _on_sqlite() -> System:
    def worker(environment: Environment, processes: int) -> Command:
        return [*_MANAGE, "db_worker"]

    client = partial(Agent, PYTHON, "benchmarks.peers.tasks_db.client:Client")
    database = partial(servers.sqlite, [*_MANAGE, "migrate"], _TASKS_DB)
    return System("django-tasks-db", database, client, worker)


def peers() -> list[System]:
    """Return the peers; raise FileNotFoundError if they are not installed."""
    installed()
    return [*map(_on_redis, _WORKERS), _on_sqlite()]

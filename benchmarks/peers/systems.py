"""
The peers as systems: each with one worker process, and its defaults for production.

None of their workers logs each job, and none keeps results that nobody waits for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .. import servers
from ..clients import Agent, Environment
from ..processes import ROOT, run_to_end
from ..servers import Server
from ..systems import Command, System

_HERE = Path(__file__).parent
#: Two environments, as some peers need an older client of Redis; and the files that name their packages.
VENV, OLDER = ROOT / ".venv-peers", ROOT / ".venv-redis5"
REQUIREMENTS = {
    VENV: _HERE / "requirements.txt",
    OLDER: _HERE / "requirements-redis5.txt",
}

_OLD = ("arq", "saq")
_CELERY = ["-m", "celery", "--app", "benchmarks.peers.celery_app", "worker"]
_RQ = ["-m", "rq.cli", "worker", "--url", "{REDIS_URL}", "--quiet"]
_DRAMATIQ = ["-m", "dramatiq", "benchmarks.peers.dramatiq_app", "--processes", "1"]
_HUEY = ["-m", "huey.bin.huey_consumer", "benchmarks.peers.huey_app.huey", "--quiet"]
_ARQ = ["-m", "arq", "benchmarks.peers.arq_app.WorkerSettings"]
_TASKIQ = ["-m", "taskiq", "worker", "benchmarks.peers.taskiq_app:broker", "--workers", "1"]
_PROCRASTINATE = ["-m", "procrastinate", "--app", "benchmarks.peers.procrastinate_app.app"]

#: The commands of the workers: of one job at a time, of threads, and of coroutines.
_SINGLE = {"celery": [*_CELERY, "-c", "1"], "rq": _RQ, "dramatiq": _DRAMATIQ, "huey": _HUEY}
_THREADS = {
    "celery": [*_CELERY, "--pool", "threads", "-c", "{SLOTS}"],
    "dramatiq": [*_DRAMATIQ, "--threads", "{SLOTS}"],
    "huey": [*_HUEY, "-k", "thread", "-w", "{SLOTS}"],
}
_COROUTINES = {
    "arq": [*_ARQ, "--custom-log-dict", "benchmarks.peers.arq_app.QUIET"],
    "saq": ["-m", "saq", "benchmarks.peers.saq_app.settings"],
    "taskiq": [*_TASKIQ, "--max-async-tasks", "{SLOTS}", "--log-level", "WARNING"],
    "procrastinate": [*_PROCRASTINATE, "worker", "--concurrency", "{SLOTS}"],
}

#: The numbers of jobs to drain, and to wait for: each takes a second or two.
COUNTS = {
    "celery": (2000, 200),
    "rq": (120, 100),
    "dramatiq": (2000, 200),
    "huey": (4000, 200),
    "django-tasks-db": (200, 3),
}

#: The number of coroutines to run: two or three seconds of them.
DOZES = {"arq": 4000, "saq": 4000, "taskiq": 4000, "procrastinate": 1000}


def installed() -> None:
    """Raise FileNotFoundError unless the peers are there."""
    for venv in REQUIREMENTS:
        if not (venv / ".ready").exists():
            raise FileNotFoundError(f"{venv.name} is not there; make peers")


def _system(name: str, parts: list[str], slots: int) -> System:
    python = (OLDER if name in _OLD else VENV) / "bin" / "python"
    more = {"SLOTS": str(slots)}

    def worker(environment: Environment, processes: int) -> Command:
        values: Mapping[str, str] = {**environment, **more}
        return ["env", f"SLOTS={slots}", python, *(part.format_map(values) for part in parts)]

    client = partial(Agent, python, f"benchmarks.peers.{name}_app:Client")
    return System(
        name, _on_postgresql if name == "procrastinate" else servers.redis, client, worker
    )


@contextmanager
def _on_postgresql() -> Iterator[Server]:
    python = VENV / "bin" / "python"
    with servers.postgresql() as server:
        run_to_end([python, *_PROCRASTINATE, "schema", "--apply"], server.environment)
        yield server


def _on_sqlite() -> System:
    python = VENV / "bin" / "python"
    manage: list[str | Path] = [python, "-m", "django"]

    def worker(environment: Environment, processes: int) -> Command:
        return [*manage, "db_worker"]

    client = partial(Agent, python, "benchmarks.peers.tasks_db.client:Client")
    variables = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.tasks_db.settings"}
    database = partial(servers.sqlite, [*manage, "migrate"], variables)
    return System("django-tasks-db", database, client, worker)


def peers() -> list[System]:
    """Return the peers with one job at a time; the worker of Dramatiq has eight threads."""
    return [*(_system(name, parts, 1) for name, parts in _SINGLE.items()), _on_sqlite()]


def in_threads(slots: int) -> list[System]:
    """Return the peers whose worker process runs this number of jobs at a time in threads."""
    return [_system(name, parts, slots) for name, parts in _THREADS.items()]


def in_coroutines(slots: int) -> list[System]:
    """Return the peers whose worker process runs this number of coroutines at a time."""
    return [_system(name, parts, slots) for name, parts in _COROUTINES.items()]

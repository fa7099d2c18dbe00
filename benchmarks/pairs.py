"""
Compare the CPU time of two versions of this library, in turns.

    git worktree add /tmp/old v1.0
    .venv/bin/python -m benchmarks.pairs /tmp/old

Wall clock depends on the rest of the machine; the CPU time of the process that works depends on it much
less. Each measurement has a process and a gearmand of its own, and the versions take turns. The last
column is the median of the ratios, new to old, with the smallest and the largest. A second thread
sleeps in the process: a client that is alone busy-waits for the server, and that time would depend on
the machine again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
CASES = ("background, memory", "do, eager", "submit", "bulk", "drain", "round trip")
_TRANSPORTS = {"background, memory": "memory", "do, eager": "eager"}
_PAYLOAD = "x" * 100
_MEASURE = (
    "import sys; sys.path[:0] = sys.argv[1:3]; from pairs import measure; measure(sys.argv[3])"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("old", type=Path, help="a checkout of the other version")
    parser.add_argument("cases", nargs="*", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    versions = {"old": options.old.resolve(), "new": ROOT}
    print(f"{'CPU microseconds a job':24}{'old':>8}{'new':>8}   ratio")
    for case in options.cases or CASES:
        found: dict[str, list[float]] = {"old": [], "new": []}
        for number in range(options.rounds):
            for name in ("old", "new") if number % 2 else ("new", "old"):
                found[name].append(_run(case, versions[name]))
        ratios = [new / old for old, new in zip(found["old"], found["new"], strict=True)]
        old, new = (statistics.median(found[name]) for name in ("old", "new"))
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{case:24}{old:8.1f}{new:8.1f}   {spread}", flush=True)


def _run(case: str, checkout: Path) -> float:
    """Return the CPU time of a job, in microseconds, with the code of this checkout."""
    from django_gearman.testing import GearmanServer  # noqa: PLC0415 - not in the measuring process

    with GearmanServer() as server:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "GEARMAN_BACKEND": _TRANSPORTS.get(case, "gearman"),
            "GEARMAN_SERVERS": server.address,
            "PYTHONPATH": str(checkout),
        }
        run = subprocess.run(
            [sys.executable, "-c", _MEASURE, checkout, Path(__file__).parent, case],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode:
        sys.exit(run.stderr)
    return float(json.loads(run.stdout.splitlines()[-1]))


def measure(case: str) -> None:
    """Print the figure of a case, in a process that has the code of one version."""
    import django  # noqa: PLC0415 - the settings are those of the environment

    django.setup()
    from benchmarks.gearman_jobs import echo, noop  # noqa: PLC0415
    from django_gearman import GearmanClient, GearmanWorker  # noqa: PLC0415

    def bulk(count: int) -> None:
        for _ in range(count // 1000):
            batch = [{"task": noop, "data": _PAYLOAD} for _ in range(1000)]
            GearmanClient().submit_multiple_jobs(batch, background=True)

    def repeat(call: Callable[[str], object], count: int) -> None:
        for _ in range(count):
            call(_PAYLOAD)

    def be_not_alone() -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def drain() -> None:
        GearmanWorker(prefetch=None).work(burst=True)

    worker = 0
    if case == "round trip":
        worker = os.fork()
        if not worker:
            GearmanWorker(prefetch=None).work()
    try:
        if case == "bulk":
            bulk(2000)
            figure = _cpu(lambda: bulk(20_000), 20_000)
        elif case == "drain":
            bulk(2000)
            drain()
            bulk(20_000)
            figure = _cpu(drain, 20_000)
        else:
            be_not_alone()
            call = noop.do_background if case in ("background, memory", "submit") else echo.do
            repeat(call, 200)
            figure = _cpu(lambda: repeat(call, 3000), 3000)
    finally:
        if worker:
            os.kill(worker, 9)
            os.waitpid(worker, 0)
    print(json.dumps(figure))


def _cpu(work: Callable[[], object], count: int) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) / count * 1e6


if __name__ == "__main__":
    main()

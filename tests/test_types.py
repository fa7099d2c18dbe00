"""The types of jobs, as an editor sees them: wrong arguments are type errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SNIPPET = """
from collections.abc import Coroutine
from typing import Any

from django_gearman import JobContext, gearman_job

@gearman_job
def resize(path: str, width: int = 100) -> bool:
    return True

@gearman_job(queue="mail", takes_context=True)
def send(context: JobContext, to: str) -> None: ...

@gearman_job
async def fetch(url: str) -> bytes:
    return b""

@gearman_job(queue="slow", takes_context=True, retries=3)
async def crawl(context: JobContext, url: str) -> int:
    return 1

reveal_type(resize("cat.png"))
reveal_type(resize.do("cat.png", width=1))
reveal_type(resize.map(["cat.png"]))
reveal_type(send.do_background("ada"))
reveal_type(resize.using(priority="HIGH").do("cat.png"))
async def awaited() -> None:
    reveal_type(await fetch("/"))
    reveal_type(await fetch.ado("/"))
    reveal_type(await crawl.amap(["/"]))

coroutine: Coroutine[Any, Any, bytes] = fetch("/")
reveal_type(fetch.do("/"))
reveal_type(fetch.map(["/"]))
reveal_type(fetch.using(priority="HIGH").do("/"))
reveal_type(crawl.do("/"))
reveal_type(crawl.do_background("/"))

resize.do(5)  # wrong
fetch.do(5)  # wrong
crawl.do(5)  # wrong
resize.do_background("cat.png", height=1)  # wrong
send.do(5)  # wrong
send("ada")  # wrong
"""


def test_jobs_are_typed(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "snippet.py").write_text(SNIPPET)

    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "snippet.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},  # mypy does not follow editable installations
        capture_output=True,
        text=True,
        check=False,
    )

    messages = [line.partition("snippet.py:")[2] for line in run.stdout.splitlines()]
    revealed = [line.split('"')[1] for line in messages if "Revealed type" in line]
    wrong = {int(line.split(":")[0]) for line in messages if "error:" in line}
    marked = {n for n, line in enumerate(SNIPPET.splitlines(), 1) if "# wrong" in line}
    assert [name.replace("builtins.", "") for name in revealed] == [
        "bool",
        "bool",
        "list[bool]",
        "django_gearman.client.request.JobRequest",
        "bool",
        "bytes",
        "bytes",
        "list[int]",
        "bytes",
        "list[bytes]",
        "bytes",
        "int",
        "django_gearman.client.request.JobRequest",
    ], run.stdout
    assert wrong == marked, run.stdout

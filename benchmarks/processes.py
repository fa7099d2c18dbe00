"""Processes of the benchmark, which ends them and their children, also on Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
STOP_SECONDS = 3.0
_GUARD = shutil.which("setpriv")
_TICKS = os.sysconf("SC_CLK_TCK")


def wait_until(ready: Callable[[], object], what: str, seconds: float = 240.0) -> None:
    """Poll every other millisecond; raise TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took more than {seconds:g} s")
        time.sleep(0.002)


def tree(process: int) -> list[int]:
    """Return the process and its descendants."""
    found = [process]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):  # it has just ended
                found += map(int, children.read_text().split())
    return found


def pss(process: int) -> float:
    """Return the resident memory, in MB, of a process and its descendants; shared pages by shares."""
    total = 0
    for each in tree(process):
        with suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def busiest(process: int) -> int:
    """Return the process that works: of the descendants without children, the one with most CPU time."""
    used = {}
    for each in tree(process):
        if len(tree(each)) == 1:
            with suppress(OSError):  # it has just ended
                used[each] = own_cpu_seconds(each)
    return max(used, key=lambda each: used[each])


def peak_rss(process: int) -> float:
    """Return the largest resident memory so far, in MB, of one process; shared pages count whole."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"the kernel tells no VmHWM of process {process}")


def switches(process: int) -> int:
    """Return how often the threads of a process have slept so far: as often have they woken up."""
    total = 0
    for path in Path(f"/proc/{process}/task").glob("*/status"):
        with suppress(OSError):  # the thread has just ended
            for line in path.read_text().splitlines():
                if line.startswith("voluntary_ctxt"):
                    total += int(line.split()[1])
    return total


def cpu_seconds(*roots: int) -> float:
    """Return the processor time of processes and their descendants so far."""
    total = 0.0
    for process in {each for root in roots for each in tree(root)}:
        with suppress(OSError):
            total += own_cpu_seconds(process)
    return total


def own_cpu_seconds(process: int) -> float:
    """Return the processor time of one process so far, and of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own, ended = (sum(map(int, fields[at : at + 2])) / _TICKS for at in (11, 13))
    with suppress(OSError):  # in nanoseconds if the kernel has it, but only of threads that live
        tasks = [*Path(f"/proc/{process}/task").iterdir()]
        alive = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        own = max(own, alive)
    return own + ended


class Program:
    """A running program; leaving the block ends it, gently at first. Its output is kept."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path = ROOT,
        talks: bool = False,
    ) -> None:
        guard = [_GUARD, "--pdeathsig", "KILL"] if _GUARD else []
        pipe = subprocess.PIPE if talks else None
        self.name = " ".join(map(str, command))
        self._log = TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            [*guard, *map(str, command)],
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdin=pipe or subprocess.DEVNULL,
            stdout=pipe or self._log,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_output(self) -> str:
        """Return the end of its output."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]

    def check(self) -> None:
        """Raise RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.last_output()}")

    def stop(self) -> None:
        """Ask it to end, and kill the rest."""
        everything = tree(self.pid)
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        for each in everything[::-1]:
            if each != self.pid and os.path.exists(f"/proc/{each}"):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            if stream is not None:
                stream.close()


def run_to_end(command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
    """Run a program that makes something ready; raise RuntimeError if it fails."""
    with Program(command, environment=environment) as program:
        wait_until(lambda: program.process.poll() is not None, program.name)
        if program.process.returncode:
            raise RuntimeError(f"{program.name} failed: {program.last_output()}")

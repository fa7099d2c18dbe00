"""A private PostgreSQL, as far as it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType


def find_postgres() -> Path | None:
    """Return the directory with the newest server's programs, None if there is none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if found:
        return found[-1]
    installed = shutil.which("postgres")
    return Path(installed).parent if installed else None


class Postgres:
    """
    A cluster of its own, on a free port of this machine; `url` has its parts for Django.

    Root may not run one: for root the user "postgres" does.
    """

    def __init__(self, programs: Path, *, fsync: bool = False) -> None:
        self._programs = programs
        self._fsync = "on" if fsync else "off"
        self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        if os.getuid() != 0:
            self._as_user = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def __enter__(self) -> Postgres:
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._as_user:
            shutil.chown(self._directory, "postgres", "postgres")
        data = self._directory / "data"
        self._run("initdb", "--auth=trust", "--username=test", "--no-sync", "-D", str(data))
        command = [*self._as_user, str(self._programs / "postgres"), "-D", str(data)]
        for setting in (f"port={self.port}", "listen_addresses=127.0.0.1", f"fsync={self._fsync}"):
            command += ["-c", setting]
        self._log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(
            [*command, "-c", f"unix_socket_directories={self._directory}"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
        )
        self._run("pg_isready", "--host=127.0.0.1", f"--port={self.port}", tries=300)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # it waits for clients
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._directory)

    def _run(self, program: str, *arguments: str, tries: int = 1) -> None:
        command = [*self._as_user, str(self._programs / program), *arguments]
        for _ in range(tries):
            run = subprocess.run(
                command, capture_output=True, text=True, cwd=self._directory, check=False
            )
            if run.returncode == 0:
                return
            if tries > 1:
                time.sleep(0.1)
        raise RuntimeError(f"{program} has failed: {run.stdout}{run.stderr}")

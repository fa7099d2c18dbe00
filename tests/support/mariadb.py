"""A private MariaDB, as far as it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from django_gearman.testing.gearmand import free_port


def find_mariadb() -> Path | None:
    """Return the server's program, None if it is not installed."""
    for name in ("mariadbd", "/usr/sbin/mariadbd"):
        if (found := shutil.which(name)) is not None:
            return Path(found)
    return None


class MariaDB:
    """
    A server of its own, on a free port of this machine, with a user "test" without a password.

    Root may not run one: for root the user "mysql" does.
    """

    def __init__(self, program: Path) -> None:
        self._program = program
        self._as_user = ["setpriv", "--reuid=mysql", "--regid=mysql", "--clear-groups"]
        if os.getuid() != 0:
            self._as_user = []
        self.port = free_port()

    def __enter__(self) -> MariaDB:
        self._directory = Path(tempfile.mkdtemp(prefix="mariadb-"))
        if self._as_user:
            shutil.chown(self._directory, "mysql", "mysql")
        data = self._directory / "data"
        # Each server that starts deletes the temporary tables of others in the same directory.
        own_files = f"--tmpdir={self._directory}"
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--datadir={data}",
            own_files,
        )
        self._log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(
            [
                *self._as_user,
                str(self._program),
                "--no-defaults",
                f"--datadir={data}",
                own_files,
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                f"--socket={self._directory}/socket",
                f"--pid-file={self._directory}/pid",
                "--innodb-flush-log-at-trx-commit=0",
                "--default-time-zone=-05:00",  # not Django's, as often
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
        )
        grant = "GRANT ALL ON *.* TO test@'127.0.0.1' IDENTIFIED BY ''"
        client = ("mariadb", "--no-defaults", f"--socket={self._directory}/socket", "--user=root")
        self._run(*client, f"--execute={grant}", tries=300)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()  # its data goes with it
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._directory)

    def _run(self, *command: str, tries: int = 1) -> None:
        for _ in range(tries):
            run = subprocess.run(
                [*self._as_user, *command],
                capture_output=True,
                text=True,
                cwd=self._directory,
                check=False,
            )
            if run.returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{command[0]} has failed: {run.stdout}{run.stderr}")

"""Django's own tests of tasks, from the source distribution of the installed release."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).parent.parent.parent / ".cache" / "django"


def directory_of_tests(version: str) -> Path:
    """Return the directory with the package `tasks`, which is downloaded at the first use."""
    directory = CACHE / version
    if not (directory / "tasks" / "tasks.py").exists():
        with tempfile.TemporaryDirectory() as place:
            _download(version, place)
            [archive] = Path(place).glob("*.tar.gz")
            _extract(archive, directory)
    return directory


def _download(version: str, place: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    source = ["--no-deps", "--no-binary", ":all:", "--dest", place, f"django=={version}"]
    subprocess.run([*command, *source], check=True)


def _extract(archive: Path, directory: Path) -> None:
    with tarfile.open(archive) as sources:
        for member in sources:
            parts = Path(member.name).parts
            if parts[1:3] == ("tests", "tasks") and member.isfile():
                content = sources.extractfile(member)
                assert content is not None
                path = directory.joinpath("tasks", *parts[3:])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())

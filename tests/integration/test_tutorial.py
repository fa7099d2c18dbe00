"""The tutorial, followed word by word in an empty directory and an empty environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from zlib import compress, crc32

import pytest

from tests.support.distribution import ROOT, build
from tests.support.gearmand import wait_until
from tests.support.tutorial.stranger import Stranger

pytestmark = pytest.mark.integration

PAGES = sorted((ROOT / "docs" / "tutorial").glob("[1-5]-*.md"))
VERSIONS = [("3.11", "5.2"), ("3.13", "6.1")]


def interpreter(version: str) -> str:
    """Return this machine's Python of that version; skip the test without one, except in CI."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for candidate in (
        f"python{version}",
        *map(str, pyenv.glob(f"versions/{version}.*/bin/python")),
    ):
        program = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            run = subprocess.run(program, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if run.stdout.strip() == version:
            return candidate
    message = f"Python {version} is not on this machine"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def stranger(tmp_path, tmp_path_factory, request) -> Iterator[Stranger]:
    python, django = request.param
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(interpreter(python))
    [wheel] = build(tmp_path_factory).glob("*.whl")
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"django-gearman @ {wheel.as_uri()}\nDjango=={django}.*\n")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO", "GEARMAN", "PYTEST", "PYTHON", "VIRTUAL_ENV"))
    }
    environment |= {
        "PATH": f"{home / 'bin'}{os.pathsep}{environment['PATH']}",
        "PIP_CONSTRAINT": str(constraints),
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    reader = Stranger(tmp_path, environment, DEEDS)
    yield reader
    reader.close()


@pytest.mark.parametrize("stranger", VERSIONS, ids="-".join, indirect=True)
def test_a_stranger_who_follows_the_tutorial_sees_what_it_says(stranger):
    for page in PAGES:
        stranger.follow(page)

    assert stranger.done == set(DEEDS)


def picture() -> bytes:
    """Return a grey PNG of 640 by 480."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return pack(">I", len(content)) + kind + content + pack(">I", crc32(kind + content))

    head = pack(">IIBBBBB", 640, 480, 8, 0, 0, 0, 0)
    rows = compress((b"\0" + b"\x80" * 640) * 480)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def upload(reader: Stranger, title: str) -> None:
    reader.browser.open(reader.address())
    page = reader.browser.send({"title": title}, {"image": (f"{title}.png", picture())})
    assert title in page


def thumbnails(reader: Stranger) -> int:
    """Count the thumbnails on the page, which must all be pictures."""
    sources = re.findall(r'<img src="([^"]+)"', reader.browser.page)
    for source in sources:
        assert reader.browser.fetch(reader.address(source)).startswith(b"\xff\xd8"), "a JPEG"
    return len(sources)


def upload_the_first(reader: Stranger) -> None:
    upload(reader, "first")
    assert thumbnails(reader) == 1


def upload_the_second(reader: Stranger) -> None:
    upload(reader, "second")

    def is_there() -> bool:
        reader.browser.open(reader.address())
        return thumbnails(reader) == 2

    wait_until(is_there, "the second thumbnail")


def upload_the_third(reader: Stranger) -> None:
    upload(reader, "third")
    assert "No thumbnail yet" in reader.browser.page


def see_three(reader: Stranger) -> None:
    reader.browser.open(reader.address())
    assert thumbnails(reader) == 3


def import_colours(reader: Stranger) -> None:
    reader.browser.open(reader.address("/import/"))
    colours = (reader.terminals[0].directory / "colours.csv").read_bytes()
    reader.browser.send({}, {"file": ("colours.csv", colours)})
    status = reader.browser.address + "status/"
    seen = []

    def is_finished() -> bool:
        state = json.loads(reader.browser.fetch(status))
        if state not in seen:
            seen.append(state)
        return bool(state["state"] == "finished")

    wait_until(is_finished, "the import")
    steps = [state["done"] for state in seen if state["state"] == "running" and state["rows"]]
    assert len(steps) > 2, seen
    assert steps == sorted(steps), seen

    def all_are_there() -> bool:
        reader.browser.open(reader.address())
        return thumbnails(reader) == 8

    wait_until(all_are_there, "the thumbnails of the imported pictures")


DEEDS = {
    "Choose a picture, give it a title, and press **Upload**": upload_the_first,
    "upload a second picture": upload_the_second,
    "upload a third picture": upload_the_third,
    "the page shows three thumbnails": see_three,
    "choose `colours.csv` and press **Import**": import_colours,
}

"""The tutorial, followed word by word in an empty directory and an empty environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.by import By

from tests.support.browser import find_browser, press
from tests.support.distribution import ROOT, build
from tests.support.gearmand import wait_until
from tests.support.tutorial.stranger import Stranger

pytestmark = pytest.mark.integration

PAGES = sorted((ROOT / "docs" / "tutorial").glob("[1-5]-*.md"))
#: For Django 6.0 and later.
MORE_PAGES = sorted((ROOT / "docs" / "tutorial").glob("[6-9]-*.md"))
WHEEL, SOURCE = "*.whl", "*.tar.gz"
VERSIONS = [("3.11", "5.2", WHEEL), ("3.13", "6.1", WHEEL)]


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
    python, django, kind = request.param
    find_browser()
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(interpreter(python))
    [package] = build(tmp_path_factory).glob(kind)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"django-gearman @ {package.as_uri()}\nDjango=={django}.*\n")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO", "GEARMAN", "PYTEST", "PYTHON", "VIRTUAL_ENV"))
    }
    environment |= {
        "PATH": f"{home / 'bin'}{os.pathsep}{environment['PATH']}",
        "DJANGO": django,
        "PIP_CONSTRAINT": str(constraints),
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    reader = Stranger(tmp_path, environment, DEEDS)
    yield reader
    reader.close()


@pytest.mark.parametrize("stranger", VERSIONS, ids=" ".join, indirect=True)
def test_a_stranger_who_follows_the_tutorial_sees_what_it_says(stranger):
    pages = PAGES if stranger.environment["DJANGO"] < "6" else [*PAGES, *MORE_PAGES]
    for page in pages:
        stranger.follow(page)

    assert stranger.done == set(DEEDS)


@pytest.mark.parametrize("stranger", [("3.12", "6.0", SOURCE)], ids=" ".join, indirect=True)
def test_the_source_distribution_serves_for_the_first_page(stranger):
    stranger.follow(PAGES[0])


def upload(reader: Stranger, title: str) -> None:
    picture = reader.directory / f"{title}.png"
    Image.new("RGB", (640, 480), "teal").save(picture)
    reader.browser.get(reader.address())
    reader.browser.find_element(By.NAME, "title").send_keys(title)
    reader.browser.find_element(By.NAME, "image").send_keys(str(picture))
    press(reader.browser, "Upload")
    assert title in text(reader)


def text(reader: Stranger) -> str:
    return reader.browser.find_element(By.TAG_NAME, "body").text


def thumbnails(reader: Stranger) -> list[int]:
    """Return the widths of the pictures on the page; one that does not load has the width 0."""
    script = "return [...document.images].map(image => image.naturalWidth)"
    widths: list[int] = reader.browser.execute_script(script)
    return widths


def see_thumbnails(reader: Stranger, number: int) -> None:
    def are_there() -> bool:
        reader.browser.get(reader.address())
        return thumbnails(reader) == [200] * number

    wait_until(are_there, f"{number} thumbnails")


def upload_the_first(reader: Stranger) -> None:
    upload(reader, "first")
    assert thumbnails(reader) == [200]


def upload_the_second(reader: Stranger) -> None:
    upload(reader, "second")
    see_thumbnails(reader, 2)


def upload_the_third(reader: Stranger) -> None:
    upload(reader, "third")
    assert "No thumbnail yet" in text(reader)


def see_three(reader: Stranger) -> None:
    reader.browser.get(reader.address())
    assert thumbnails(reader) == [200] * 3


def import_colours(reader: Stranger) -> None:
    colours = reader.terminals[0].directory / "colours.csv"
    reader.browser.get(reader.address("/import/"))
    reader.browser.find_element(By.NAME, "file").send_keys(str(colours))
    press(reader.browser, "Import")
    script = "const bar = document.getElementById('bar'); return [bar.value, bar.max]"
    seen: list[list[int]] = []

    def is_finished() -> bool:
        is_last = "finished" in text(reader)  # asked first: the bar is full before it says so
        bar = reader.browser.execute_script(script)
        if bar not in seen:
            seen.append(bar)
        return is_last

    wait_until(is_finished, "the import")
    moved = [value for value, rows in seen if rows == 5]
    assert len(moved) > 2, seen
    assert moved == sorted(moved), seen
    assert moved[-1] == 5, seen
    see_thumbnails(reader, 8)


DEEDS = {
    "Choose a picture, give it a title, and press **Upload**": upload_the_first,
    "upload a second picture": upload_the_second,
    "upload a third picture": upload_the_third,
    "the page shows three thumbnails": see_three,
    "choose `colours.csv` and press **Import**": import_colours,
}

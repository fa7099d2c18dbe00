"""The package as users install it: the wheel and the source distribution."""

from __future__ import annotations

import re
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.distribution import ROOT, build

pytestmark = pytest.mark.integration

MATRIX = sorted(set(re.findall(r"\b(3\.\d+):(\d\.\d)", (ROOT / "Makefile").read_text())))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory)


@pytest.fixture
def in_wheel(built: Path) -> set[str]:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture
def in_source(built: Path) -> set[str]:
    [source] = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


@pytest.fixture
def metadata(built: Path) -> Message:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def package_files() -> set[str]:
    files = (path for path in (ROOT / "django_gearman").rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if path.suffix not in (".pyc", ".pyo")}


def test_the_wheel_has_the_whole_package_and_nothing_else(in_wheel):
    of_package = {name for name in in_wheel if ".dist-info/" not in name}

    assert of_package == package_files()
    assert "django_gearman/py.typed" in of_package
    assert any(name.endswith("/licenses/LICENSE") for name in in_wheel)


def test_the_source_has_the_package_its_documentation_and_its_tests(in_source):
    assert package_files() - in_source == set()
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "setup.py"):
        assert name in in_source
    for path in (*(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        assert name in in_source or "/_build/" in name
    assert [name for name in in_source if re.search(r"\.(pyc|sqlite3)$|^build/|/\.", name)] == []


def test_the_metadata_names_each_supported_version(metadata):
    classifiers = metadata.get_all("Classifier", [])

    assert len(MATRIX) == 3
    for python, django in MATRIX:
        assert f"Programming Language :: Python :: {python}" in classifiers
        assert f"Framework :: Django :: {django}" in classifiers
    assert len(classifiers) == len(set(classifiers))
    assert metadata["Requires-Python"] == f">={MATRIX[0][0]}"


def test_the_metadata_tells_who_made_it_and_where_to_read_on(metadata):
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))

    assert metadata["Author"] == "django-gearman contributors"
    assert metadata["License-Expression"].startswith("MPL-1.1 OR GPL-2.0-or-later OR ")
    assert {"background jobs", "Django", "Gearman"} <= set(metadata["Keywords"].split(","))
    assert set(urls) == {"Documentation", "Tutorial", "Changelog", "Gearman"}
    assert all(url.startswith("https://") for url in urls.values())


def test_links_of_the_description_work_outside_of_the_repository(metadata):
    description = metadata.get_payload()
    assert isinstance(description, str)

    targets = re.findall(r"\]\(([^)]+)\)", description)

    assert [target for target in targets if not re.match(r"https?://|#", target)] == []
    assert any(target.startswith(urls_base(metadata)) for target in targets)


def urls_base(metadata: Message) -> str:
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    return urls["Documentation"]

"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import django_gearman

PACKAGE = Path(django_gearman.__file__).parent
MODULES = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
TESTS = Path(__file__).parent
TEST_FILES = {str(path.relative_to(TESTS)): path for path in TESTS.rglob("*.py")}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_loggers_are_those_whose_records_cannot_be_forged(module):
    makes_its_own = "logging.getLogger(" in MODULES[module].read_text()

    # The supervisor knows none of our modules; `logs` handles its loggers.
    assert (
        not makes_its_own
        or module in ("utils/records.py", "logs.py")
        or module.startswith("supervisor/")
    )


def test_few_modules_stand_at_the_root():
    flat = [name for name in MODULES if "/" not in name and name != "__init__.py"]
    assert len(flat) <= 10, flat


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_is_too_long_to_read(module):
    assert len(MODULES[module].read_text().splitlines()) <= 350


@pytest.mark.parametrize("name", sorted(TEST_FILES))
def test_no_test_file_is_too_long_to_read(name):
    assert len(TEST_FILES[name].read_text().splitlines()) <= 600


def test_contributors_find_every_room_and_each_path_that_is_named():
    text = (TESTS.parent / "CONTRIBUTING.md").read_text()
    places = (PACKAGE, TESTS, TESTS.parent / "docs" / "project")
    files = [f"/{path}" for place in places for path in place.rglob("*.py")]

    rooms = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert [room for room in rooms if f"`{room}/`" not in text] == []
    named = re.findall(r"[\w/]+\.py\b", text)
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


@pytest.mark.parametrize(
    "folder", ["django_gearman", "tests", "soak", "benchmarks", "gearman_example"]
)
def test_docstrings_name_their_subject_at_once(folder):
    circumscribed = re.compile(r'"""\s*(?:What|Where|Whether|Whoever|Have) .*')
    found = [
        f"{path}: {docstring}"
        for path in (TESTS.parent / folder).rglob("*.py")
        for docstring in circumscribed.findall(path.read_text())
    ]
    assert found == []


def test_names_of_tests_state_a_fact():
    circumscribed = re.compile(r"def (test_(?:what|who|whoever|whatever|where|whether|have)_\w+)")
    found = [
        f"{name}: {test}"
        for name, path in TEST_FILES.items()
        for test in circumscribed.findall(path.read_text())
    ]
    assert found == []

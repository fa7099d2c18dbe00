"""The documentation: the kinds of its blocks of code. tests/integration/test_pages.py runs them."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from soak.__main__ import WITH_THREADS
from tests.support.pages import DOCS, ROOT, Page, matches, pages

PAGES = {page.name: page for page in pages()}
#: The tutorial has its own test, which follows it from the first page to the last.
HERE = [name for name in PAGES if not name.startswith("tutorial/")]
RUN = {"python", "pycon", "sh", "console"}
PARSED = {"ini", "toml", "yaml", "json"}
TESTS = {path: path.read_text() for path in Path(__file__).parent.rglob("*.py")}


@pytest.mark.parametrize("name", HERE)
def test_every_block_is_run_or_checked_or_says_why_not(name):
    unchecked = [
        f"{name}:{block.line}: a block of {block.language or 'no language'!r} is not run; write "
        "<!-- checked by: TEST --> or <!-- not run: REASON --> above it"
        for block in PAGES[name].blocks
        if block.language not in RUN | PARSED and block.kind not in ("not run", "checked by")
    ]
    assert unchecked == []


@pytest.mark.parametrize("name", HERE)
def test_every_block_that_is_checked_elsewhere_names_a_test(name):
    named = [block.note for block in PAGES[name].blocks if block.kind == "checked by"]
    assert [
        test for test in named if not any(f"def {test}(" in text for text in TESTS.values())
    ] == []


@pytest.mark.parametrize("name", HERE)
def test_every_block_of_configuration_can_be_parsed(name):
    for block in PAGES[name].blocks:
        if block.language == "ini" and block.kind != "not run":
            head = "" if "[" in block.code else "[pytest]\n"
            configparser.ConfigParser(interpolation=None).read_string(head + block.code)
        elif block.language == "toml":
            tomllib.loads(block.code)
        elif block.language == "json":
            for line in block.code.splitlines() if "\n{" in block.code else [block.code]:
                json.loads(line)
        elif block.language == "yaml":
            list(pytest.importorskip("yaml").safe_load_all(block.code))


@pytest.mark.parametrize("name", HERE)
def test_every_included_file_is_one_that_a_test_runs(name):
    for path in PAGES[name].included:
        assert (ROOT / path).exists(), path
        folder = Path(path).parent.name
        assert any(Path(path).name in text or f'/ "{folder}"' in text for text in TESTS.values()), (
            f"{name} shows {path}, and no test names it"
        )


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)[)#]", PAGES["../README.md"].text):
        assert (ROOT / target).exists(), target


def test_links_of_the_package_lead_to_pages_of_the_site():
    printed = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "--long-description", "--url"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    site = "https://django-gearman.readthedocs.io/en/latest/"
    named = re.findall(rf"\({site}([\w/-]+)\.html", printed)

    assert len(named) > 15
    assert [name for name in named if not (DOCS / f"{name}.md").exists()] == []
    assert re.findall(r"\]\((?!http)([^)]+)\)", printed) == []


def test_the_readme_is_short():
    assert len(PAGES["../README.md"].text.splitlines()) <= 160


def test_settings_are_those_of_a_project():
    for name, page in PAGES.items():
        assert not re.search(r"from settings import|^# settings\w*\.py", page.text, re.MULTILINE), (
            name
        )


# The harness


def test_blocks_are_found_with_what_stands_above_them():
    text = (
        "# Title\n\n<!-- not run: needs Docker -->\n\n```sh\ndocker run  # it\n```\n\n"
        "````{note}\n```python\n# shop/x.py\npass\n```\n````\n\n```{toctree}\n*\n```\n"
    )

    first, second = Page("x.md", text).blocks

    assert (first.line, first.language, first.kind, first.note) == (
        5,
        "sh",
        "not run",
        "needs Docker",
    )
    assert list(first.commands()) == [("docker run", "")]
    assert (second.line, second.file) == (10, "shop/x.py")


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("3 jobs in 0.5 s", "12 jobs in 1.25 s", True),
        ("3 jobs", "no jobs", False),
        ("a   b", "a b", True),
        ("a b", "a  c", False),
        ("worker ... at 127.0.0.1:4730", "worker vm/1/all at 127.0.0.1:39871", True),
        ("one\n...\nlast", "one\ntwo\nthree\nlast", True),
        ("one\n...\nlast", "one\ntwo\nthree", False),
        ("one", "one\ntwo", False),
        ("one\n^C\ntwo", "one\ntwo", True),
        ("(1) [a] *", "(2) [a] *", True),
    ],
)
def test_output_is_compared_but_for_what_varies(expected, actual, same):
    assert matches(expected, actual) is same


PAGE_WITH_LINKS = """
<h1 id="top">Title</h1> <a href="#top">up</a>
<a href="other/page.html#there">there</a> <img src="cat.png">
<a href="https://example.com/#gone">elsewhere</a> <a href="mailto:ada@example.com">mail</a>
"""


def check_links(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, DOCS / "links.py", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_dead_links_of_the_site_are_found(tmp_path):
    (tmp_path / "index.html").write_text(PAGE_WITH_LINKS)

    done = check_links(tmp_path)

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "index.html: no such page: cat.png",
        "index.html: no such page: other/page.html#there",
    ]


@pytest.mark.parametrize(("name", "code"), [("there", 0), ("elsewhere", 1)])
def test_fragments_of_links_are_headings(tmp_path, name, code):
    (tmp_path / "index.html").write_text(PAGE_WITH_LINKS)
    (tmp_path / "cat.png").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "page.html").write_text(f'<h2 id="{name}"><a href="../">back</a></h2>')

    assert check_links(tmp_path).returncode == code


# Numbers that a program has written


def test_the_numbers_are_those_of_a_whole_soak_that_passed():
    text = (DOCS / "explanation" / "measurements.md").read_text()
    reports = [block.code for block in Page("", text).blocks if block.language == "text"]
    scenarios = [path.stem for path in (ROOT / "soak" / "scenarios").glob("[!_]*.py")]

    for reported, names in zip(reports, (scenarios, WITH_THREADS), strict=True):
        assert sorted(re.findall(r"^(\w+): ", reported, re.MULTILINE)) == sorted(names)
        assert reported.count("  PASS in ") == len(names)
        assert "FAIL" not in reported

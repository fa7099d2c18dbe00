"""The reader of the tutorial's pages, which a test of integration sends through all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tutorial.pages import Browsed, File, Shown, Typed, steps
from tests.support.tutorial.transcript import pattern_of, plain

PAGES = sorted((Path(__file__).parent.parent / "docs" / "tutorial").glob("[0-9]-*.md"))

PAGE = """
Open a second terminal:

```console
$ cd site
$ ls
a.py
```

Create `b.py`:

```python
pass
```

In `b.py`, replace `pass` with:

```python
run()
```

Open <http://127.0.0.1:8000/>.
It shows
nothing. Press Ctrl-C in the first terminal:

```text
^C
Stopped.
```
"""


def test_each_block_of_the_tutorial_says_what_is_to_be_done_with_it():
    assert len(PAGES) >= 5
    for page in PAGES:
        blocks = page.read_text().count("```") // 2
        done = [step for step in steps(page) if not isinstance(step, Browsed)]
        assert len(done) == blocks


def test_a_page_is_a_list_of_steps(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    assert steps(page) == [
        Typed(1, [("cd site", ""), ("ls", "a.py\n")]),
        File("b.py", None, "pass\n"),
        File("b.py", "pass", "run()"),
        Browsed(
            "Open <http://127.0.0.1:8000/>. It shows nothing. Press Ctrl-C in the first terminal:"
        ),
        Shown(0, "^C\nStopped.\n", is_interrupted=True),
    ]


def test_a_block_without_a_sentence_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("This is it:\n\n```python\npass\n```\n")

    with pytest.raises(ValueError, match="what is to be done"):
        steps(page)


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("ready in 0.3 s\n", "ready in 12.75 s\n"),
        ("done  99.1 ms\n", "done      1.02 s\n"),
        ("...\nlast\n", "first\nsecond\nlast\n"),
        ("...\nlast\n", "last\n"),
        ("Successfully installed ...\n", "Successfully installed a-1 b-2\n"),
        ("^C\nStopped.\n", "^CStopped.\n"),
        ("Done\n", "\x1b[32;1mDone\x1b[0m\r\n"),
        ("14:02:10 a.job  started\n", "03:59:59 a.job       started\n"),
    ],
)
def test_output_that_is_the_same_but_for_time_and_place_is_accepted(page, shown):
    assert pattern_of(page).fullmatch(plain(shown))


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("2 workers\n", "3 workers\n"),
        ("last\n", "last\nand more\n"),
        ("first\nlast\n", "first\n"),
        ("first\n...\nlast\n", "first\n"),
        ("a.job started\n", "a.job failed\n"),
        ("127.0.0.1:4730\n", "127.0.0.1:4731\n"),
        ("", "anything\n"),
    ],
)
def test_other_output_is_not(page, shown):
    assert not pattern_of(page).fullmatch(plain(shown))

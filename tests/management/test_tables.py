from __future__ import annotations

import pytest

from django_gearman.management.tables import Column, keep_end, keep_start, table, width_of

COLUMNS = Column("NAME", least=8), Column("JOBS", right=True), Column("FILE", least=10)


def test_columns_are_as_wide_as_their_widest_cell():
    lines = table(COLUMNS, [["a", "1", "x.py:1"], ["long-name", "12345", "y.py:1"]])

    assert lines == [
        "NAME        JOBS  FILE",
        "a              1  x.py:1",
        "long-name  12345  y.py:1",
    ]


def test_a_table_without_rows_is_its_head():
    assert table(COLUMNS, []) == ["NAME  JOBS  FILE"]


def test_the_last_columns_shrink_first_and_lose_their_start():
    rows = [["shop.make_thumbnail", "1", "shop/pictures/gearman_jobs.py:28"]]

    [_, wide], [_, narrow] = table(COLUMNS, rows, 45), table(COLUMNS, rows, 30)

    assert wide == "shop.make_thumbnail     1  ..arman_jobs.py:28"
    assert narrow == ".._thumbnail     1  ..bs.py:28"
    assert len(narrow) <= 30


@pytest.mark.parametrize("width", [0, 1, 7])
def test_a_width_that_is_too_small_leaves_the_least(width):
    [_, line] = table(COLUMNS, [["n" * 50, "7", "f" * 50]], width)

    assert line == "..nnnnnn     7  ..ffffffff"


def test_no_cell_ends_its_line_or_moves_the_cursor():
    [_, line] = table(COLUMNS, [["a\nb\x1b[2J", "\r", "\u202e\udcff"]])

    assert line.startswith(r"a\nb\x1b[2J    \r")
    assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "width"),
    [("", 0), ("abc", 3), ("größe", 5), ("画像", 4), ("e\u0301", 1), ("ＡＢ", 4), ("🎉", 2)],
)
def test_the_width_of_a_text_is_that_of_its_terminal_cells(text, width):
    assert width_of(text) == width


def test_wide_characters_are_aligned():
    lines = table(COLUMNS, [["画像.縮小", "1", ""], ["plain", "1", ""]])

    assert [width_of(line) for line in lines[1:]] == [15, 15]


@pytest.mark.parametrize("width", [2, 3, 4, 5, 8, None])
def test_a_cut_text_fits(width):
    for text in ("abcdefgh", "画像画像画像", "a画b像c画"):
        for shown in (keep_start(text, width), keep_end(text, width)):
            assert width is None or width_of(shown) <= width
            assert shown == text or ".." in shown

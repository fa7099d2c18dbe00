"""A notice, which other processes read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from django_gearman.supervisor import Notice
from django_gearman.supervisor.notice import MAX_NOTICE


@pytest.fixture
def notice() -> Iterator[Notice]:
    made = Notice()
    yield made
    made.close()


def test_a_new_notice_has_no_news(notice):
    assert notice.news() is None


def test_a_text_is_news_once_to_each_reader(notice):
    other = Notice(os.dup(notice.descriptor))

    notice.write(b"one")

    assert (notice.news(), other.news()) == (b"one", b"one")
    assert (notice.news(), other.news()) == (None, None)
    notice.write(b"")
    assert (notice.news(), other.news()) == (b"", b"")
    other.close()


def test_only_the_last_text_counts(notice):
    notice.write(b"a long text")
    notice.write(b"short")

    assert notice.news() == b"short"


def test_a_forked_process_reads_it(notice):
    read, written = os.pipe()
    child = os.fork()
    if not child:
        while (text := notice.news()) is None:
            pass
        os.write(written, text)
        os._exit(0)
    notice.write(b"to the child")

    assert os.read(read, 100) == b"to the child"
    os.waitpid(child, 0)
    os.close(read)
    os.close(written)


def test_a_text_that_is_being_written_is_not_news_yet(notice):
    notice.write(b"first")
    notice._memory[0:8] = (3).to_bytes(8, sys.byteorder)  # its writer died here

    assert notice.news() is None
    notice.write(b"second")
    assert notice.news() == b"second"


def test_a_text_that_is_too_long_is_refused_and_the_one_before_stays(notice):
    notice.write(b"x" * MAX_NOTICE)

    with pytest.raises(ValueError, match="at most 1,048,576 bytes, not 1,048,577"):
        notice.write(b"x" * (MAX_NOTICE + 1))

    assert notice.news() == b"x" * MAX_NOTICE

"""The error when no job server can be reached."""

from __future__ import annotations

import pytest

from django_gearman.backends.remote import unavailable


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("refused", "no job server to ask: refused. Start a job server ("),
        (
            "is this a job server?",
            "no job server to ask: is this a job server? Start a job server (",
        ),
        ("a: TLS: no", "no job server to ask: a: TLS: no. Does it speak TLS"),
    ],
)
def test_each_sentence_has_one_end(reason, message):
    assert str(unavailable("ask", [reason])).startswith(message)

"""The answers of job servers to the commands of administrators."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_gearman.exceptions import ProtocolError
from django_gearman.protocol.admin import parse_software, parse_status, parse_workers

unhurried = settings(deadline=None)  # of a machine that does other things too


def test_the_status_of_functions_is_read():
    text = "f1\t3\t1\t2\nwith\ttab\t0\t0\t0\nzero\x85width\u2028\t4294967295\t0\t1\n"

    assert parse_status(text) == [
        ("f1", 3, 1, 2),
        ("with\ttab", 0, 0, 0),
        ("zero\x85width\u2028", 4294967295, 0, 1),
    ]


def test_the_list_of_workers_is_read():
    text = (
        "31 127.0.0.1 - :\n"
        "32 127.0.0.1 host:123:default : f3 f2 f1\n"
        "33 10.0.0.7 my worker : f1\n"
        "34 127.0.0.1  : no-id\n"
        "35 127.0.0.1 : : colon\n"
        "36 ::1 - : a::b :c\n"
        "-1 127.0.0.1 hung up : f1\n"
        "NA 127.0.0.1 - : \n"
    )

    assert parse_workers(text) == [
        ("127.0.0.1", "-", ()),
        ("127.0.0.1", "host:123:default", ("f3", "f2", "f1")),
        ("10.0.0.7", "my worker", ("f1",)),
        ("127.0.0.1", "", ("no-id",)),
        ("127.0.0.1", ":", ("colon",)),
        ("::1", "-", ("a::b", ":c")),
    ]


def test_a_newline_in_a_name_cuts_no_function_off():
    text = "a\nb\t1\t0\t2\n\n\t0\t0\t1\nf\t0\t0\t0\n"

    assert parse_status(text) == [("a\nb", 1, 0, 2), ("\n", 0, 0, 1), ("f", 0, 0, 0)]


@pytest.mark.parametrize(
    ("client_id", "functions"),
    [
        ("my\nworker", ["f"]),
        ("\n" * 120, ["f", "g"]),
        ("a\n.\nb", ["f"]),
        ("a\n31 10.0.0.1 forged : g", ["f"]),
        ("a\r\x1b[2J\u2028", ["f"]),
        ("-", ["f\nx", "g"]),
        ("-", ["f", "g\nx"]),
    ],
)
def test_a_newline_cuts_no_worker_off(client_id, functions):
    others = "30 127.0.0.1 one : f\n", "33 127.0.0.1 two : f\n"
    text = f"31 127.0.0.1 {client_id} : {' '.join(functions)}\n".join(others)

    first, [address, found, served], last = parse_workers(text, strict=False)

    assert (first[1], last[1]) == ("one", "two")
    assert (address, found) == ("127.0.0.1", client_id)
    assert served[0] == functions[0].partition("\n")[0]


@pytest.mark.parametrize("parse", [parse_status, parse_workers])
def test_an_empty_list_has_no_rows(parse):
    assert parse("") == []


@pytest.mark.parametrize(
    "line", ["f1", "f1\t1\t2", "f1\t1\tx\t2", "f1 1 1 1", "ERR UNKNOWN_COMMAND x\r", ""]
)
def test_a_malformed_line_of_status_is_quoted(line):
    with pytest.raises(ProtocolError) as caught:
        parse_status(f"ok\t0\t0\t0\n{line}\n")

    assert repr(line) in str(caught.value)


@pytest.mark.parametrize("line", ["31", "31 127.0.0.1", "31 : f", "31 127.0.0.1 id f1 f2", ""])
def test_a_malformed_line_of_workers_is_quoted(line):
    with pytest.raises(ProtocolError) as caught:
        parse_workers(f"31 127.0.0.1 - :\n{line}\n")

    assert repr(line) in str(caught.value)


def test_a_newline_in_a_name_is_a_part_of_it():
    assert parse_status("two\nlines\t1\t0\t2\nf\t0\t0\t0\n") == [
        ("two\nlines", 1, 0, 2),
        ("f", 0, 0, 0),
    ]
    assert parse_workers("31 ::1 a\nb\n\n : f g\n32 ::1 - :\n") == [
        ("::1", "a\nb\n\n", ("f", "g")),
        ("::1", "-", ()),
    ]


@pytest.mark.parametrize("odd", ["", "what?", "31", "31 : f", "x " * 1000, "\n" * 50])
def test_odd_lines_cost_no_other_line_where_that_is_asked_for(odd):
    workers = f"31 ::1 a : f\n{odd}\n32 ::1 b : f\n{odd}\n"
    status = f"f\t1\t0\t2\n{odd}\n"

    assert [row[1] for row in parse_workers(workers, strict=False)] == ["a", "b"]
    assert parse_status(status, strict=False) == [("f", 1, 0, 2)]
    for parse in (parse_workers, parse_status):  # nothing else is there
        with pytest.raises(ProtocolError, match="not a line"):
            parse(f"{odd}\n", strict=False)


@unhurried
@given(st.text())
def test_no_text_makes_the_admin_parsers_raise_anything_else(text):
    for parse in (parse_status, parse_workers):
        with contextlib.suppress(ProtocolError):
            parse(text)


@pytest.mark.parametrize(
    ("version", "software", "shown"),
    [
        (
            "OK 1.1.20+ds\n",
            "ERR UNKNOWN_COMMAND Unknown+server+commandsoftware\r\n",
            "gearmand 1.1.20+ds",
        ),
        ("OK 2.0.0\n", "OK gearman_server 1.0.0\n", "gearman_server 1.0.0"),
        ("OK perl 2.0\r\n", "ERR unknown\r\n", "perl 2.0"),
        ("2.0\n", "", ""),
        ("", "", ""),
        ("OK \n", "OK\n", ""),
        ("ERR no\n", "\x1b[2J\n", ""),
    ],
)
def test_the_software_of_a_server_is_in_its_answers(version, software, shown):
    assert parse_software(version, software) == shown

"""stdout and stderr of a worker as lines of JSON."""

from __future__ import annotations

import io
import json

import pytest

from django_gearman.utils.console import JSONLines, wants_json


@pytest.fixture
def stream():
    return JSONLines(io.StringIO(), "stdout", "INFO")


def lines(stream: JSONLines) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.stream.getvalue().splitlines()]


def messages(stream: JSONLines) -> list[object]:
    return [line["message"] for line in lines(stream)]


def test_each_line_is_json(stream):
    print("a", 1, file=stream)
    stream.write("two\nlines\u2028\ud800\n")
    print(file=stream)
    stream.writelines(["b\n", "c\n"])

    assert messages(stream) == ["a 1", "two\nlines\u2028\\ud800", "b", "c"]
    assert {(line["level"], line["logger"]) for line in lines(stream)} == {("INFO", "stdout")}


def test_lines_of_json_pass_unchanged(stream):
    stream.write('{"message": 1}\n{"message": 2}\n')
    stream.write('{"message": 3}\nplain\n')
    stream.write("[1]\n{broken}\n")

    assert messages(stream) == [1, 2, '{"message": 3}\nplain', "[1]\n{broken}"]


def test_a_line_without_an_end_is_written_when_it_is_flushed_or_long(stream):
    stream.write("begun")
    assert messages(stream) == []
    stream.flush()
    stream.write("x" * 70_000)

    assert messages(stream) == ["begun", "x" * 70_000]


def test_it_is_the_stream_beside_that(tmp_path):
    with (tmp_path / "out").open("w") as file:
        stream = JSONLines(file, "stdout", "INFO")

        assert stream.fileno() == file.fileno()
        assert stream.encoding == file.encoding
        assert not stream.isatty()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("manage.py gearman_worker --log-format json", True),
        ("manage.py gearman_worker -w 2 --log-format=json -v 2", True),
        ("manage.py gearman_worker --log-f json", True),
        ("manage.py gearman_worker --log-format text", False),
        ("manage.py gearman_worker --log-format=json --log-format text", False),
        ("manage.py gearman_worker --log-format", False),
        ("manage.py gearman_worker -- json", False),
        ("manage.py other --log-format json", False),
        ("", False),
    ],
)
def test_the_arguments_tell_whether_it_is_wanted(arguments, wanted):
    assert wants_json(arguments.split()) is wanted

"""Standard streams that are closed, full, or without a reader."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
import textwrap
import time
from typing import IO

import pytest

from tests.support.gearmand import wait_until

BEFORE = "from django_gearman.supervisor import protect_streams; protect_streams()\n"


def run(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    program = BEFORE + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program], text=True, timeout=120, check=False, **options
    )


def start(code: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BEFORE + textwrap.dedent(code)], **options)


def test_text_comes_out_as_it_was_written():
    code = """
        import logging, subprocess, sys
        print("printed é", sys.stdout.isatty(), sys.stdout.fileno(), sys.stdout.encoding)
        sys.stdout.flush()
        logging.warning("logged")
        subprocess.run(["sh", "-c", "echo from a program; echo and more >&2"])
        print("x" * 100_000)
    """
    done = run(code, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})

    assert done.stdout == f"printed é False 1 utf-8\nfrom a program\n{'x' * 100_000}\n"
    assert done.stderr == "WARNING:root:logged\nand more\n"


def test_handlers_that_exist_write_to_the_new_streams():
    code = """
        import logging, sys
        old = sys.stderr
        logging.getLogger("some.where").addHandler(handler := logging.StreamHandler())
        from django_gearman.supervisor import protect_streams
        protect_streams()
        assert handler.stream is sys.stderr is not old
    """
    program = textwrap.dedent(code)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_without_a_reader_holds_nothing_up(unbuffered):
    reading, writing = os.pipe()
    code = """
        import sys, logging
        for number in range(20_000):
            print(f"line {number} " + "x" * 30)
            logging.warning("line %d", number)
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = run(code, stdout=writing, stderr=writing, env=environment)  # in less than a minute
    os.close(writing)

    assert done.returncode == 0
    with open(reading) as file:
        lines = file.read().splitlines()
    assert 500 < len(lines) < 40_000


def waiting_in(pipe: IO[bytes]) -> int:
    """Return the number of bytes that can be read."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_a_pipe_that_is_read_late_is_waited_for():
    code = """
        from django_gearman.supervisor import streams
        streams.PATIENCE_SECONDS = 60.0
        print('x' * 150_000)
        print('end')
    """
    process = start(code, stdout=subprocess.PIPE)
    wait_until(lambda: waiting_in(process.stdout) > 60_000, "the pipe is full")
    time.sleep(0.1)  # in which an impatient program would drop the rest

    out, _ = process.communicate(timeout=60)

    assert len(out) == 150_005


def test_a_line_that_was_cut_is_not_part_of_the_next_one():
    reading, writing = os.pipe()
    code = """
        import sys, time
        sys.stderr.write("a" * 100_000 + "\\n")
        print("cut", flush=True)
        sys.stdin.readline()
        sys.stderr.write("whole\\n")
    """
    process = start(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writing)
    os.close(writing)
    assert process.stdout.readline() == b"cut\n"
    with open(reading, "rb") as file:
        begun = file.read1(65536)
        process.communicate(b"go on\n", timeout=60)
        lines = (begun + file.read()).splitlines()
    assert [set(line) for line in lines[:-1]] == [{ord("a")}]
    assert lines[-1] == b"whole"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_gone_changes_nothing(stream):
    reading, writing = os.pipe()
    os.close(reading)
    code = """
        import sys, logging
        for _ in range(1000):
            print("line", flush=True)
            logging.warning("line")
    """
    done = run(code, **{stream: writing})
    os.close(writing)

    assert done.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has it")
def test_a_disk_without_room_changes_nothing():
    with open("/dev/full", "w") as full:
        done = run("import sys; print('x' * 10_000, flush=True)", stdout=full, stderr=full)

    assert done.returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_the_null_device(closed):
    code = """
        import os, socket, sys
        for descriptor in (0, 1, 2):
            os.fstat(descriptor)
        print("x", flush=True)
        sys.stderr.write("x")
        left, right = socket.socketpair()
        assert min(left.fileno(), right.fileno()) > 2
        os.system("echo from a program; echo and more >&2")
        sys.exit(7)
    """
    program = BEFORE + textwrap.dedent(code)
    command = f'"$0" -c "$1" {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, program], timeout=60, check=False)

    assert done.returncode == 7


def test_a_file_with_the_number_of_a_closed_stream_is_not_written_to(tmp_path):
    code = f"""
        import os
        file = os.open({str(tmp_path / "file")!r}, os.O_CREAT | os.O_WRONLY)
        assert file == 2
        from django_gearman.supervisor import protect_streams
        protect_streams()
        import logging
        logging.error("an error")
    """
    command = ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, textwrap.dedent(code)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_a_supervisor_lives_on_without_a_reader(launch, tmp_path):
    marker = tmp_path / "reading"
    os.mkfifo(marker)
    reading = os.open(marker, os.O_RDONLY | os.O_NONBLOCK)
    family = launch(
        before="from django_gearman.supervisor import protect_streams\n"
        f"os.dup2(os.open({str(marker)!r}, os.O_WRONLY), 2); protect_streams()",
        run="sys.stderr.write(('x' * 9000 + '\\n') * 4); os._exit(1)",
    )
    wait_until(lambda: len(family.children()) >= 4, "one after the other, with logs", 60)
    family.send(signal.SIGQUIT)
    count = len(family.children())
    wait_until(lambda: len(family.children()) > count, "and so on", 60)

    assert family.stop() == 0
    os.close(reading)

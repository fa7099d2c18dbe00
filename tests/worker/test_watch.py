"""Interrupts of functions in threads leave the interpreter as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading, time
from django_gearman.exceptions import JobTimeLimitExceeded
from django_gearman.worker.watch import Watch, watch_thread, watched

watch, done = Watch(lambda: None), threading.Event()

def work():
    watch_thread(watch)
    try:
        watched(0.01, {function}, [], {{}})
    except JobTimeLimitExceeded:
        print("interrupted")
    done.set()

def spin():
    while True:
        pass

threading.Thread(target=work, daemon=True).start()
until = time.monotonic() + {seconds}
while time.monotonic() < until and not done.is_set():
    watch.next_at
    watch.enforce()
    time.sleep(0.01)

def call():
    return "went on"

sys.setprofile(lambda *about: None)
print(call())
sys.setprofile(None)
"""


@pytest.mark.parametrize(
    ("function", "seconds", "expected"),
    [
        ("spin", 30, ["interrupted", "went on"]),
        ("lambda: time.sleep(3600)", 0.5, ["went on"]),
    ],
)
def test_other_threads_can_be_profiled_after_an_interrupt(function, seconds, expected):
    """
    Given a function in a thread whose time is over, and another thread
    When that one is profiled
    Then it goes on: with Python 3.11 it would not, while an exception waits for any thread.
    """
    program = PROGRAM.format(function=function, seconds=seconds)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout.split("\n")[:-1] == expected

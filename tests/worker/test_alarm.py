from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from django_gearman.exceptions import JobTimeLimitExceeded
from django_gearman.worker.alarm import alarm, kept_alarm
from django_gearman.worker.isolation import call
from django_gearman.worker.process_state import ProcessState
from django_gearman.worker.timelimit import limited

LONG = 60.0  # seconds of a limit that is not reached


@pytest.fixture(autouse=True)
def kept(monkeypatch) -> Iterator[None]:
    # A busy machine may pause this process between looks at the timer and at the clock.
    monkeypatch.setattr("django_gearman.worker.alarm._TOLERANCE", 10.0)
    with kept_alarm():
        yield


def nothing() -> None:
    pass


def run_with_short_limit(seconds: float) -> None:
    with suppress(JobTimeLimitExceeded):  # on a busy machine it may be interrupted all the same
        limited(seconds, nothing, [], {})


def assert_is_interrupted(seconds: float = 0.05) -> None:
    with pytest.raises(JobTimeLimitExceeded, match=rf"timeout of {seconds:g} s"):
        limited(seconds, time.sleep, [LONG], {})


def test_many_quick_functions_set_the_timer_once(monkeypatch):
    times = []
    set_timer = signal.setitimer
    monkeypatch.setattr(signal, "setitimer", lambda *args: times.append(args) or set_timer(*args))

    for _ in range(10):
        limited(LONG, nothing, [], {})

    assert times == [(signal.ITIMER_REAL, LONG)]


def test_after_the_block_the_signal_and_the_timer_are_as_before():
    before = signal.getsignal(signal.SIGALRM)
    with kept_alarm():
        limited(LONG, nothing, [], {})
    limited(LONG, nothing, [], {})  # the outer block still keeps it
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 0

    call(nothing, [], {})
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_shorter_limit_after_a_longer_one_is_exact():
    limited(LONG, nothing, [], {})
    assert_is_interrupted()


def test_a_longer_limit_after_a_shorter_one_is_exact():
    run_with_short_limit(0.1)
    limited(LONG, time.sleep, [0.2], {})  # the timer of 0.1 s ends meanwhile
    assert_is_interrupted(0.1)

    run_with_short_limit(0.1)
    started = time.monotonic()
    assert_is_interrupted(0.2)
    assert time.monotonic() - started >= 0.2


def test_a_timer_that_ends_between_two_functions_is_set_again():
    run_with_short_limit(0.05)
    time.sleep(0.1)
    assert_is_interrupted()


CHANGES = {
    "the timer is stopped": lambda: signal.alarm(0),
    "the timer is longer": lambda: signal.alarm(1000),
    "the signal is ignored": lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("where", ["in a function with a limit", "between functions"])
def test_a_limit_is_exact_after_others_have_used_the_signal(change, where):
    limited(LONG, change if where.startswith("in") else nothing, [], {})
    if where.startswith("between"):
        change()
    assert_is_interrupted()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_timer_that_was_stopped_shortly_before_its_time_is_set_again():
    limited(5.0, nothing, [], {})  # its alarm is kept, and due within the tolerance of this test
    signal.setitimer(signal.ITIMER_REAL, 0)

    assert limited(6.0, lambda: signal.getitimer(signal.ITIMER_REAL)[0], [], {}) > 0


def test_an_alarm_that_a_function_leaves_is_stopped_at_its_end():
    def leave() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.alarm(1)

    before = signal.getsignal(signal.SIGALRM)
    limited(LONG, leave, [], {})

    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_function_without_a_limit_finds_no_alarm():
    def found() -> tuple[object, float]:
        return signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]

    before = signal.getsignal(signal.SIGALRM)
    limited(LONG, nothing, [], {})
    assert call(found, [], {}) == (before, 0.0)


def test_a_function_inside_one_with_a_limit_leaves_its_limit_alone():
    def outer() -> None:
        call(nothing, [], {})  # as a job on the backend `eager`
        time.sleep(LONG)

    with pytest.raises(JobTimeLimitExceeded):
        limited(0.05, outer, [], {})


def test_another_thread_leaves_the_alarm_alone():
    limited(LONG, nothing, [], {})
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call(nothing, [], {})
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 0


def test_a_worker_in_another_thread_does_not_keep_the_alarm():
    # Given a worker in a thread, which begins and ends later than one of the main thread
    may_end = threading.Event()

    def run(began: threading.Event) -> None:
        with kept_alarm():
            began.set()
            may_end.wait(LONG)

    before = alarm.is_kept
    with kept_alarm():
        thread = threading.Thread(target=run, args=[began := threading.Event()])
        thread.start()
        assert began.wait(LONG)
    alarm.is_kept = False  # as in a process without a worker in its main thread

    # When it ends
    may_end.set()
    thread.join()

    # Then the next function with a limit leaves no alarm
    limited(LONG, nothing, [], {})
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    alarm.is_kept = before


def test_the_alarm_is_no_change_that_a_job_has_left():
    state = ProcessState()
    limited(LONG, nothing, [], {})
    assert state.put_back() == []
    state.close()

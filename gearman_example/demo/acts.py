"""The seven acts: each is one sentence and its outcome, which must be the expected one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from django.db import transaction

from django_gearman import GearmanClient
from django_gearman.exceptions import JobRaised
from gearman_example.gearman_jobs import (
    background_counting,
    divide,
    flaky,
    notify,
    paint,
    reverse,
    work_slowly,
)

from .stage import PATIENCE, Stage

SENTENCE = "The quick brown fox"
_BAR = 20  # characters
_COUNTING = 2  # background jobs


class Unexpected(Exception):
    """The outcome of an act was another one."""


def expect(condition: object, outcome: object) -> None:
    """Raise Unexpected, with the outcome, unless the condition holds."""
    if not condition:
        raise Unexpected(f"unexpected: {outcome}")


def wait_for_a_result(stage: Stage) -> None:
    """Wait for a result: the client gets it as from a function."""
    began = time.perf_counter()
    result = reverse.using(wait=PATIENCE).do(SENTENCE)
    took = time.perf_counter() - began
    stage.ended("reverse")
    stage.say("client", f"reverse.do({SENTENCE!r}) -> {result!r} in {took * 1000:.1f} ms")
    expect(result == SENTENCE[::-1], result)


def do_not_wait(stage: Stage) -> None:
    """Do not wait: the jobs are queued, and run while the client goes on."""
    began = time.perf_counter()
    requests = [background_counting.do_background(n) for n in range(1, _COUNTING + 1)]
    took = time.perf_counter() - began
    stage.say("client", f"{len(requests)} counting jobs queued in {took * 1000:.1f} ms")
    expect(all(request.handle for request in requests), requests)


def watch_progress(stage: Stage) -> None:
    """Watch the progress of a job, as a bar."""
    request = GearmanClient().submit_job(paint, 4, wait_until_complete=False)
    seen = []
    for _ in request.updates(PATIENCE):
        if request.status and not request.complete:
            done, whole = request.status["numerator"], request.status["denominator"]
            seen.append(done)
            bar = ("#" * (_BAR * done // whole)).ljust(_BAR, "-")
            stage.say("client", f"[{bar}] {done} of {whole}")
    stage.ended("paint")
    stage.say("client", f"paint.do(4) -> {request.result!r}")
    expect(seen == [1, 2, 3, 4], seen)


def fail_on_purpose(stage: Stage) -> None:
    """A job fails, on purpose: the client gets the error, and the log has it, too."""
    try:
        result = divide.using(wait=PATIENCE).do(1, 0)
    except JobRaised as error:
        stage.ended("divide")
        text = str(error).rpartition("raised ")[2]
        stage.say("client", f"divide.do(1, 0) raises JobRaised: {text}")
        if stage.verbosity < 2:
            stage.say("client", "(its traceback is shown with -v 2)")
        expect("ZeroDivisionError" in text, error)
    else:
        raise Unexpected(f"divide.do(1, 0) -> {result!r}")


def retry(stage: Stage) -> None:
    """A job fails twice, and is tried again each time."""
    flaky.do_background(2)
    expect(stage.ended("flaky", 3), "there were no three attempts")
    ends = stage.ends("flaky")
    stage.say("client", f"flaky was tried {len(ends)} times, and has succeeded")
    # Two processes run the attempts, and may tell of them in another order.
    expect(sum("runs again" in end for end in ends) == 2, ends)
    expect(sum(end.startswith("finished") for end in ends) == 1, ends)


def survive_a_kill(stage: Stage) -> None:
    """A worker process is killed in mid-job, and another one does the job."""
    request = GearmanClient().submit_job(work_slowly, wait_until_complete=False)
    victim = 0
    for _ in request.updates(PATIENCE):
        if not victim and request.data_updates:
            victim = request.data_updates[0]
            stage.say("client", f"kill -9 {victim} ({stage.name_of(victim)})")
            os.kill(victim, signal.SIGKILL)
    stage.ended("work_slowly")
    stage.say("client", f"work_slowly.do() -> done by process {request.result}")
    expect(victim and request.result != victim, request.result)


def roll_back(stage: Stage) -> None:
    """A transaction is rolled back, and no job is sent."""
    try:
        with transaction.atomic():
            request = notify.using(on_commit=True).do_background("ada@example.com")
            raise ValueError("something is wrong with the order")
    except ValueError as error:
        stage.say("client", f"rolled back: {error}")
    reverse.using(wait=PATIENCE).do(SENTENCE)  # a job that was sent before would have begun
    stage.ended("reverse", 2)
    started = [each for each in stage.records if each.get("job") == notify.name]
    stage.say("client", f"{len(started)} jobs sent; the request is {request.state}")
    expect(not started and not request.handle, request)


ACTS: list[Callable[[Stage], None]] = [
    wait_for_a_result,
    do_not_wait,
    watch_progress,
    fail_on_purpose,
    retry,
    survive_a_kill,
    roll_back,
]

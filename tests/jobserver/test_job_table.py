"""The rules, against a model that does the same in the plainest way."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from django_gearman.jobserver.job_table import JobTable
from django_gearman.jobserver.state import HIGH, LOW, Job, Offer, State, Worker

FUNCTIONS = [b"a", b"b", b"c"]
functions = st.sampled_from(FUNCTIONS)
bands = st.integers(HIGH, LOW)


class Rules(RuleBasedStateMachine):
    """Random clients and workers; `line` is every waiting job in the order in which it queued."""

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.table = JobTable(lambda number: b"H:%d" % number)
        self.now = 0.0
        self.line: list[Job] = []
        self.delayed: list[Job] = []
        self.running: dict[Job, Worker] = {}
        self.waiting: dict[Job, Counter[str]] = {}
        self.awake: list[Worker] = []

    def wanted(self, job: Job) -> bool:
        return job.background or bool(+self.waiting.get(job, Counter()))

    def alive(self) -> list[Job]:
        return [*self.line, *self.delayed, *self.running]

    @rule(
        client=st.sampled_from(["ada", "bob", None]),
        function=functions,
        unique=st.sampled_from([b"", b"", b"one", b"two", b"-"]),
        band=bands,
        delay=st.sampled_from([None, None, None, 0, 5, 50]),
    )
    def submit(self, client, function, unique, band, delay):
        run_at = None if delay is None or client else self.now + delay
        offer = Offer(function, unique, b"work", band, client is None, run_at)
        equal = [
            job
            for job in self.alive()
            if unique and (job.function.name, job.unique) == (function, unique)
        ]
        job = self.table.submit(client, offer)
        assert [job] == equal or (not equal and job.state is State.NEW)
        if job.state is State.NEW:
            self.table.enqueue(job, self.now)
            (self.delayed if delay and not client else self.line).append(job)
        self.waiting.setdefault(job, Counter()).update([client] if client else [])

    @rule(target=workers, served=st.sets(functions, min_size=1))
    def come(self, served):
        worker = Worker(object())
        for name in served:
            self.table.can_do(worker, name)
        return worker

    @rule(worker=workers)
    def grab(self, worker):
        mine = [job for job in self.line if job.function.name in worker.functions]
        best = min((job.band for job in mine), default=None)
        expected = next((job for job in mine if job.band == best), None)
        assert self.table.grab(worker) is expected
        if expected is not None:
            self.line.remove(expected)
            self.running[expected] = worker

    @rule(worker=workers)
    def sleep(self, worker):
        has_work = any(job.function.name in worker.functions for job in self.line)
        assert self.table.sleep(worker) is not has_work

    @rule(worker=workers, data=st.data())
    def end(self, worker, data):
        mine = [job for job, held in self.running.items() if held is worker]
        if mine:
            job = data.draw(st.sampled_from(mine))
            assert Counter(self.table.end(job)) == self.waiting.pop(job)
            del self.running[job]

    def give_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            del self.running[job]
            if self.wanted(job):
                self.line.append(job)
            else:
                self.waiting.pop(job)

    @rule(worker=workers, data=st.data())
    def leave_one(self, worker, data):
        if worker.in_hand:
            job = data.draw(st.sampled_from(list(worker.in_hand.values())))
            self.table.give_back([job])
            self.give_back([job])

    @rule(worker=workers, name=functions)
    def cant_do(self, worker, name):
        held = [
            job
            for job in worker.in_hand.values()
            if self.running[job] is worker and job.function.name == name
        ]
        self.table.cant_do(worker, name)
        self.give_back(held)

    @rule(worker=consumes(workers))
    def leave(self, worker):
        held = list(worker.in_hand.values())
        self.table.leave(worker)
        self.give_back(held)

    @rule(client=st.sampled_from(["ada", "bob"]))
    def hang_up(self, client):
        self.table.hang_up(client)
        for job in self.alive():
            del self.waiting[job][client]
            if not self.wanted(job) and job not in self.running:
                (self.line if job in self.line else self.delayed).remove(job)
                del self.waiting[job]

    @rule(seconds=st.sampled_from([1, 10, 100]))
    def pass_time(self, seconds):
        self.now += seconds
        self.table.due(self.now)
        due = [job for job in self.delayed if job.run_at <= self.now]
        self.delayed = [job for job in self.delayed if job not in due]
        self.line += sorted(due, key=lambda job: job.run_at)

    @invariant()
    def counts_agree(self):
        alive = self.alive()
        assert set(self.table.jobs.values()) == set(alive)
        assert bool(self.table.ready) == bool(self.line)
        for row in self.table.counts():
            mine = [job for job in alive if job.function.name == row.name]
            assert row.total == len(mine)
            assert row.running == sum(job in self.running for job in mine)
            assert sum(row.queued) == row.total - row.running

    @invariant()
    def no_job_waits_beside_a_sleeper(self):
        for worker in self.table.workers:
            if worker.is_asleep:
                waiting = [j for j in self.line if j.function.name in worker.functions]
                woken = [w for w in self.table.workers if not w.is_asleep]
                assert not waiting or woken


Rules.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestRules = Rules.TestCase


@pytest.mark.parametrize("goes", ["leaves", "serves the function no more"])
def test_another_worker_is_woken_if_the_first_does_not_come(goes):
    table = JobTable(lambda number: b"H:%d" % number)
    first, second = Worker(object()), Worker(object())
    for worker in first, second:
        table.can_do(worker, b"a")
        table.sleep(worker)
    job = table.submit("ada", Offer(b"a", b"", b"work", HIGH, False, None))
    assert table.enqueue(job, 0.0) is first

    woken = table.leave(first) if goes == "leaves" else table.cant_do(first, b"a")

    assert woken == [second]
    assert table.grab(second) is job

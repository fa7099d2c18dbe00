"""Actions on many records, within the time of one request."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from django.db.models import QuerySet

from ...jobs.keeping import CancelAnswer
from ..store import actions, cancelling
from ..store.finding import Choice
from ..store.models import JobRecord
from ..store.writing import database

Status = JobRecord.Status

#: Seconds after which an action ends; what is left takes another request.
MOST_SECONDS = 15.0

#: A function that is called with the number of jobs so far; it returns False when time is over.
Watch = Callable[[int], bool]


@dataclass
class Outcome:
    """
    The outcome of an action.

    The user had agreed to `stated` jobs; `count` of them were changed, `refused` has the reasons for
    others, and `rest` are left because the time was over. The states of all others by now are in
    `others`, "" for an unknown one. `running` of those that were cancelled ran.
    """

    stated: int = 0
    count: int = 0
    waiting: int = 0
    running: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    rest: int = 0
    others: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Action:
    """
    An action that users can do on jobs.

    A question shows `verb` before "12 jobs", and the answer shows `done` after it.
    """

    name: str
    label: str
    permission: str
    statuses: tuple[str, ...]
    verb: str
    done: str
    warning: str
    run: Callable[[Choice, Watch, Outcome], None]
    is_dangerous: bool = False
    #: Chooses the jobs of a selection; None if the action is for all jobs of a filter, too.
    chosen: Callable[[Choice], QuerySet[JobRecord]] | None = None

    @property
    def takes_all(self) -> bool:
        return self.chosen is None

    def records(self, choice: Choice) -> QuerySet[JobRecord]:
        """Return the jobs that the action would change."""
        return choice.records() if self.chosen is None else self.chosen(choice)


def _retry(choice: Choice, watch: Watch, outcome: Outcome) -> None:
    others = _others(choice)
    retried = actions.retry(choice.records(), watch)
    outcome.waiting, outcome.refused = retried.waiting, retried.refused
    _account(choice, watch, outcome, others)


def _discard(choice: Choice, watch: Watch, outcome: Outcome) -> None:
    others = _others(choice)
    actions.discard(choice.records(), watch)
    _account(choice, watch, outcome, others)


def _others(choice: Choice) -> Counter[str]:
    """Return the states of jobs that are chosen by their ids, and whose records do not fit by now."""
    if choice.ids is None:
        return Counter()
    rows = JobRecord.objects.using(database()).filter(pk__in=choice.ids)
    statuses = dict(rows.values_list("pk", "status"))
    fitting = {*choice.records().values_list("pk", flat=True)}
    return Counter(statuses.get(each, "gone") for each in {*choice.ids} - fitting)


def _account(choice: Choice, watch: Watch, outcome: Outcome, others: Counter[str]) -> None:
    """Write the states of the jobs that were not changed into an outcome."""
    if not watch(outcome.count):
        outcome.rest = max(0, choice.records().count() - len(outcome.refused))
    elif not outcome.count:
        # Another user was faster: what the records say now is about all of them.
        others = _others(choice)
    missing = outcome.stated - outcome.count - len(outcome.refused) - outcome.rest
    others[""] = max(0, missing - others.total())
    outcome.others = +others if missing > 0 else Counter()


def _cancel(choice: Choice, watch: Watch, outcome: Outcome) -> None:
    answers = Counter(cancelling.cancel(choice.ids or ()).values())
    outcome.running = answers[CancelAnswer.RUNNING]
    watch(answers[CancelAnswer.QUEUED] + answers[CancelAnswer.DELAYED] + outcome.running)
    late = {
        "ended": answers[CancelAnswer.FINISHED],
        "gone": answers[CancelAnswer.UNKNOWN],
    }
    outcome.others = +Counter(late)


def _unfinished(choice: Choice) -> QuerySet[JobRecord]:
    """Return the jobs of a selection that have not ended: one that waited may run by now."""
    rows = JobRecord.objects.using(database()).filter(pk__in=choice.ids or ())
    return rows.filter(status__in=(Status.READY, Status.RUNNING)).order_by("pk")


ACTIONS: dict[str, Action] = {
    each.name: each
    for each in (
        Action(
            name="retry",
            label="Retry",
            permission="gearman_store.retry_jobrecord",
            statuses=(Status.FAILED,),
            verb="Run again",
            done="retried",
            warning="They run under their ids, with the same arguments.",
            run=_retry,
        ),
        Action(
            name="discard",
            label="Discard",
            permission="gearman_store.discard_jobrecord",
            statuses=(Status.FAILED,),
            verb="Discard",
            done="discarded",
            warning="Their records, with arguments and errors, are deleted for good.",
            run=_discard,
            is_dangerous=True,
        ),
        Action(
            name="cancel",
            label="Cancel",
            permission="gearman_store.cancel_jobrecord",
            statuses=(Status.READY, Status.RUNNING),
            verb="Cancel",
            done="cancelled",
            warning=(
                "Jobs that wait will not run. In jobs that run, JobCancelled is raised; if a job does "
                "not end, its process is killed."
            ),
            run=_cancel,
            is_dangerous=True,
            chosen=_unfinished,
        ),
    )
}


def perform(action: Action, choice: Choice, outcome: Outcome) -> None:
    """
    Do an action with the chosen jobs, and write the result into `outcome`.

    Jobs are changed in batches. If one of them fails, `outcome` has the number of those before.
    """
    deadline = time.monotonic() + MOST_SECONDS

    def watch(count: int) -> bool:
        outcome.count = count
        return time.monotonic() < deadline

    action.run(choice, watch, outcome)


def messages_of(action: Action, outcome: Outcome) -> Iterable[tuple[bool, str]]:
    """Yield the sentences that state an outcome, each with True if it is good news."""
    alone = [
        f"{were(count)} left alone: {_CHANGED.get(status, status)}."
        for status, count in outcome.others.items()
    ]
    done = f"{jobs(outcome.count) if outcome.count else 'No job'} {action.done}."
    yield outcome.count > 0, " ".join([done, *alone])
    if outcome.running:
        yield True, f"{were(outcome.running)} running, and will end in a moment."
    if outcome.waiting:
        yield False, f"{were(outcome.waiting)} put into the outbox: no job server takes jobs now."
    if outcome.refused:
        reason = next(iter(outcome.refused.values()))
        yield False, f"{were(len(outcome.refused))} refused. The first: {reason}"
    if outcome.rest:
        yield (
            False,
            f"{jobs(outcome.rest)} left, because the time of one request was over. Repeat it.",
        )


_CHANGED = {
    Status.READY.value: "retried already, and waiting",
    Status.RUNNING.value: "already running",
    Status.SUCCESSFUL.value: "successful by now",
    Status.CANCELLED.value: "cancelled",
    Status.FAILED.value: "failed again meanwhile",
    "ended": "ended or cancelled before",
    "gone": "no longer there",
    "": "retried or discarded by another user, or failed again",
}


def were(count: int) -> str:
    return "1 was" if count == 1 else f"{count:,} were"


def jobs(count: int) -> str:
    """Return a number of jobs, in words."""
    return "1 job" if count == 1 else f"{count:,} jobs"

"""Actions on jobs: a page that states their number, and then the action itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from ....exceptions import GearmanError
from ....utils.text import str_of
from ...store.finding import Choice
from ...store.models import JobRecord
from ...store.redaction import storable
from ...store.writing import database
from ..acting import ACTIONS, Action, Outcome, jobs, messages_of, perform
from ..audit import log_action
from ..filters import Filters

if TYPE_CHECKING:
    from .base import PageAdmin

_SHOWN = 10  # jobs of a selection that are named


def act(page: PageAdmin, request: HttpRequest) -> HttpResponse:
    """
    Ask for a confirmation, or do the confirmed action.

    `act` in the form is the name of an action and "all" or "selected", such as "retry:selected".
    """
    name, _, scope = request.POST.get("act", "").partition(":")
    action = ACTIONS.get(name)
    if (
        action is None
        or scope not in ("all", "selected")
        or (scope == "all" and not action.takes_all)
    ):
        raise BadRequest("no such action")
    if not request.user.has_perm(action.permission):
        raise PermissionDenied
    try:
        filters = Filters.read(request.POST).as_of(timezone.now())
        choice = filters.choice()
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if filters.status not in action.statuses:
        raise BadRequest(f"{action.name} is not for jobs with the status {filters.status}")
    back = _back(page, request)
    if scope == "selected":
        choice = replace(choice, ids=tuple(map(storable, request.POST.getlist("id"))))
        if not choice.ids:
            messages.warning(request, "Select at least one job.")
            return HttpResponseRedirect(back)
    if "confirmed" in request.POST:
        _do(request, action, filters, choice)
        return HttpResponseRedirect(back)
    return _ask(page, request, action, filters, choice, back)


def _ask(
    page: PageAdmin,
    request: HttpRequest,
    action: Action,
    filters: Filters,
    choice: Choice,
    back: str,
) -> HttpResponse:
    """Return the page that describes an action and asks to confirm it."""
    ids, rows = [], []
    records = action.records(choice)
    if choice.ids is None:
        count = records.count()
    else:
        rows = [*records.values_list("pk", "name", "exception")]
        ids = [row[0] for row in rows]
        count = len(ids)
    context = {
        "title": f"{action.verb} {jobs(count)}?" if count else "No job is left",
        "action": action,
        "act": request.POST["act"],
        "count": count,
        "filters": filters,
        "since": choice.since,
        "until": choice.until,
        "ids": ids,
        "rows": rows[:_SHOWN],
        "more": len(rows[_SHOWN:]),
        "is_all": choice.ids is None,
        "back": back,
        "refreshes": False,
    }
    return page.show(request, "confirm.html", context)


def _do(request: HttpRequest, action: Action, filters: Filters, choice: Choice) -> None:
    """Do an action, tell the user the outcome, and write it into the admin's log."""
    stated = request.POST.get("stated", "")
    outcome = Outcome(int(stated) if stated.isdecimal() and len(stated) < 10 else 0)
    single = choice.ids[0] if choice.ids is not None and len(choice.ids) == 1 else None
    subject = _subject(single)
    try:
        perform(action, choice, outcome)
    except (DatabaseError, GearmanError) as error:
        text = f"The action ended early, after {jobs(outcome.count)}: {str_of(error, 500)}"
        messages.error(request, text)
    else:
        for is_good, text in messages_of(action, outcome):
            (messages.success if is_good else messages.warning)(request, text)
    finally:
        if outcome.count:
            scope = ", ".join(f"{name} {value}" for name, value, _ in filters.words)
            chosen = f"of {len(choice.ids)} selected" if choice.ids is not None else f"with {scope}"
            log_action(
                request,
                JobRecord,
                single,
                subject or jobs(outcome.count),
                f"{action.label}: {jobs(outcome.count)} {'' if subject else chosen}".rstrip(),
            )


def _subject(job_id: str | None) -> str:
    """Return the name of a single job for the log."""
    if job_id is None:
        return ""
    record = JobRecord.objects.using(database()).filter(pk=job_id).only("name").first()
    return job_id if record is None else str(record)


def _back(page: PageAdmin, request: HttpRequest) -> str:
    """Return the address from which the action was started: one of these pages."""
    own = reverse("admin:gearman_failures", current_app=page.admin_site.name)
    wanted = request.POST.get("back", "")
    return wanted if wanted.startswith(own) and wanted.isprintable() and "\\" not in wanted else own

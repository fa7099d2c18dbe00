"""Lists of jobs with one status, and finding one by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from ....jobs.registry import registry
from ....utils.text import printable
from ...store.attempts import last_attempt
from ...store.finding import MOST_COUNTED, count_up_to, counts_by_status
from ...store.models import JobRecord
from ...store.showing import arguments_of
from ...store.writing import database
from ..filters import PERIODS, Filters

if TYPE_CHECKING:
    from .base import PageAdmin

Status = JobRecord.Status

#: The rows of a page.
ROWS = 50
#: The rows of all pages: a page far behind takes long.
MOST_SHOWN = 2_000
#: In the order of the tabs.
TABS = (Status.FAILED, Status.READY, Status.RUNNING, Status.SUCCESSFUL, Status.CANCELLED)


def around(filters: Filters) -> dict[str, Any]:
    """Return the data around a list or the groups: filters, and a tab for each status."""
    counts = counts_by_status()
    return {
        "filters": filters,
        "periods": PERIODS,
        "jobs": sorted(job.name for job in registry.jobs()),
        "queues": sorted({job.queue for job in registry.jobs()}),
        "tabs": [
            (status, status.capitalize(), _of_status(filters, status).query, counts[status])
            for status in TABS
        ],
        "most": MOST_COUNTED,
        "problem": "",
    }


def _of_status(filters: Filters, status: str) -> Filters:
    """Return the filters for jobs with a status; only those that have failed have an error."""
    error = {} if status == Status.FAILED else {"exception": "", "fingerprint": ""}
    return filters.changed(status=status, **error)


def collect(filters: Filters, page: str = "") -> dict[str, Any]:
    """Return a page of the list, and the problem with the filters if there is one."""
    context = {**around(filters), "refreshes": False}
    try:
        choice = filters.choice()
    except ValueError as error:
        return {**context, "title": "Jobs", "problem": str(error)}
    records = choice.records().defer("workload", "result", "context", "worker_ids")
    counted = count_up_to(records)
    paginator = Paginator(records, ROWS)
    paginator.count = min(counted, MOST_SHOWN)  # a full count takes long
    shown = paginator.get_page(page)
    rows = [
        (record, arguments_of(record), last_attempt(record.errors), getattr(record, choice.moment))
        for record in shown.object_list
    ]
    older = ""
    if counted > MOST_SHOWN and not shown.has_next() and rows[-1][3] is not None:
        older = filters.changed(until=rows[-1][3].isoformat()).query
    title = f"{filters.status.capitalize()} jobs"
    found = {"counted": counted, "shown": shown, "rows": rows, "older": older}
    return {**context, "title": title, **found}


def find(page: PageAdmin, request: HttpRequest) -> HttpResponse:
    """Redirect to the job with an id, or to the failures if there is no such job."""
    job_id = request.GET.get("id", "").strip()
    site = page.admin_site.name
    rows = JobRecord.objects.using(database())
    if "\0" not in job_id and rows.filter(pk=job_id).exists():
        return HttpResponseRedirect(reverse("admin:gearman_job", args=[job_id], current_app=site))
    text = (
        "Enter the id of a job."
        if not job_id
        else f"There is no record of the job {printable(job_id, 100)}."
    )
    messages.warning(request, text)
    return HttpResponseRedirect(reverse("admin:gearman_failures", current_app=site))

"""Failures: groups of failed jobs, lists of jobs, one job, and the actions on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from ...store.grouping import groups_of
from ...store.models import JobRecord
from ...store.writing import database
from ..acting import ACTIONS, Action
from ..filters import Filters
from . import confirming, detail, listing
from .base import PageAdmin

#: The groups of a page.
GROUPS = 25


class FailuresAdmin(PageAdmin):
    """The page of failures, which leads to the lists of jobs and to each job."""

    name = "failures"

    def context(self, request: HttpRequest) -> dict[str, Any]:
        filters = Filters.read(request.GET).changed(status=JobRecord.Status.FAILED)
        context = collect(filters, request.GET.get("page", ""))
        return {**context, "fitting": allowed(request, filters.status)}

    def routes(self) -> Sequence[URLPattern]:
        def listed(request: HttpRequest) -> HttpResponse:
            filters = Filters.read(request.GET)
            context = listing.collect(filters, request.GET.get("page", ""))
            fitting = allowed(request, filters.status)
            return self.show(request, "list.html", {**context, "fitting": fitting})

        def job(request: HttpRequest, job_id: str) -> HttpResponse:
            return detail.show(self, request, job_id, allowed)

        # Each batch is a transaction, also with ATOMIC_REQUESTS.
        @transaction.non_atomic_requests(using=database())
        def act(request: HttpRequest) -> HttpResponse:
            return confirming.act(self, request)

        def find(request: HttpRequest) -> HttpResponse:
            return listing.find(self, request)

        return (
            self.route("list/", listed, "gearman_list"),
            self.route("find/", find, "gearman_find"),
            self.route("job/<path:job_id>/", job, "gearman_job"),
            self.route("act/", act, "gearman_act", methods=["POST"]),
        )


def allowed(request: HttpRequest, status: str) -> list[Action]:
    """Return the actions for jobs with a status that the user may do."""
    return [
        each
        for each in ACTIONS.values()
        if status in each.statuses and request.user.has_perm(each.permission)
    ]


def collect(filters: Filters, page: str = "") -> dict[str, Any]:
    """Return a page of groups of failures, and the problem with the filters if there is one."""
    context = listing.around(filters)
    number = int(page) if page.isdecimal() and len(page) < 4 else 1
    try:
        found = groups_of(filters.choice(), GROUPS * max(0, number - 1), GROUPS)
    except ValueError as error:
        return {**context, "problem": str(error)}
    groups = [
        (
            group,
            filters.changed(
                job=group.job, exception=group.exception, fingerprint=group.fingerprint
            ),
        )
        for group in found.groups
    ]
    more = number + 1 if found.total > number * GROUPS else None
    less = number - 1 if number > 1 else None
    return {**context, "found": found, "groups": groups, "more": more, "less": less}

"""The pages, in the admin."""

from __future__ import annotations

from django.contrib import admin

from .models import Failures, Jobs, Overview, Page, Schedules, Workers
from .pages.base import PageAdmin
from .pages.failures import FailuresAdmin
from .pages.jobs import JobsAdmin
from .pages.overview import OverviewAdmin
from .pages.schedules import SchedulesAdmin
from .pages.workers import WorkersAdmin

ADMINS: dict[type[Page], type[PageAdmin]] = {
    Overview: OverviewAdmin,
    Workers: WorkersAdmin,
    Failures: FailuresAdmin,
    Schedules: SchedulesAdmin,
    Jobs: JobsAdmin,
}


def register(site: admin.AdminSite) -> None:
    """
    Add the pages to an AdminSite; call this in an `admin.py` of your project.

    The default site, `django.contrib.admin.site`, has them without a call, also where AdminConfig's
    `default_site` names another class.
    """
    for model, page in ADMINS.items():
        site.register(model, page)


register(admin.site)

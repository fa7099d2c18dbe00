"""The frame of all pages: addresses, permissions, navigation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ....utils.records import log
from ....utils.text import str_of
from ...store.missing import TableMissing, naming_missing_tables
from ...store.writing import database, logger
from ..models import PAGES, Page

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Page]
else:
    _ModelAdmin = admin.ModelAdmin

READ = ("GET", "HEAD")
POST = ("POST",)
#: The permission to pause queues, and to make workers load their code again.
CONTROL = "gearman_store.control_worker"
View = Callable[..., HttpResponse]


class PageAdmin(_ModelAdmin):
    """
    A page of the admin.

    The page's address has the name `admin:gearman_NAME`. Further views come from `routes`.
    """

    #: The page's name, in its address and for its template.
    name: str
    #: The permission to see the page, such as "gearman_store.view_jobrecord".
    permission = "gearman_store.view_jobrecord"
    #: The page asks for itself again every few seconds.
    refreshes = True

    @property
    def label(self) -> str:
        """The title of the page."""
        return str(self.opts.verbose_name).capitalize()

    def context(self, request: HttpRequest) -> dict[str, Any]:
        """Return the data for the page's template."""
        raise NotImplementedError

    def routes(self) -> Sequence[URLPattern]:
        """Return the page's further addresses, made by `route`."""
        return ()

    def route(
        self,
        address: str,
        view: View,
        name: str,
        *,
        permission: str | None = None,
        methods: Sequence[str] = READ,
    ) -> URLPattern:
        """
        Return an address below the page's own, with the name `admin:NAME`.

        It is for users of the admin with `permission`, by default the page's; others get a 403. A POST
        needs a CSRF token, and methods other than `methods` get a 405. If the tables of the store are
        missing, or its database cannot be used, the answer is a page that says so.
        """
        needed = permission or self.permission

        @wraps(view)
        def guarded(request: HttpRequest, /, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(needed):
                raise PermissionDenied
            try:
                with naming_missing_tables(database()):
                    return view(request, *args, **kwargs)
            except (TableMissing, OperationalError, InterfaceError) as error:
                problem = str(error)
                if not isinstance(error, TableMissing):
                    problem = f"The database {database()!r} cannot be used: {str_of(error, 500)}"
                    log(logger, logging.ERROR, "page %s: %s", self.name, problem, exc_info=error)
                context = {"problem": problem, "refreshes": False}
                return self.show(request, "problem.html", context, status=503)

        checked = require_http_methods([*methods])(guarded)
        return path(address, self.admin_site.admin_view(checked), name=name)

    def show(
        self, request: HttpRequest, template: str, context: dict[str, Any], **more: Any
    ) -> TemplateResponse:
        """Return a page in the frame; `template` is the name of a file, `more` goes to the response."""
        request.current_app = self.admin_site.name
        frame = {
            **self.admin_site.each_context(request),
            "title": self.label,
            "page": self.name,
            "label": self.label,
            "pages": self._navigation(request),
            "refreshes": self.refreshes,
            "may_control": request.user.has_perm(CONTROL),
            "now": timezone.now(),
            "opts": self.opts,
        }
        return TemplateResponse(
            request, f"gearman_dashboard/{template}", {**frame, **context}, **more
        )

    def to_page(self, page: str = "") -> HttpResponse:
        """Return a redirect to this page, or to another one by its name, within the same site."""
        name = f"admin:gearman_{page or self.name}"
        return HttpResponseRedirect(reverse(name, current_app=self.admin_site.name))

    def get_urls(self) -> list[URLPattern]:
        def view(request: HttpRequest) -> HttpResponse:
            return self.show(request, f"{self.name}.html", self.context(request))

        # The admin's index asks for the page's address by the second name.
        return [
            self.route("", view, f"gearman_{self.name}"),
            self.route("", view, f"{self.opts.app_label}_{self.opts.model_name}_changelist"),
            *self.routes(),
        ]

    def _navigation(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Return the name and the title of each page that the user may see."""
        pages = [
            self.admin_site.get_model_admin(model)
            for model in PAGES
            if self.admin_site.is_registered(model)
        ]
        return [
            (page.name, page.label)
            for page in pages
            if isinstance(page, PageAdmin) and page.has_view_permission(request)
        ]

    def has_view_permission(self, request: HttpRequest, obj: Page | None = None) -> bool:
        return request.user.has_perm(self.permission)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Page | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Page | None = None) -> bool:
        return False

"""The admin, with its static files, and the policy of a careful site."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

urlpatterns = [
    path("admin/", admin.site.urls),
    re_path(rf"^{settings.STATIC_URL[1:]}(?P<path>.*)$", serve, {"insecure": True}),
]


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def add(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            "connect-src 'self'; form-action 'self'"
        )
        return response

    return add

"""The admin's log of actions."""

from __future__ import annotations

from typing import cast

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.http import HttpRequest


def log_action(
    request: HttpRequest, model: type[models.Model], pk: object, subject: str, message: str
) -> None:
    """
    Write an action of the request's user into the admin's log.

    `subject` is the name of the changed thing, and `message` describes the change. `pk` is
    None for an action on many things.
    """
    LogEntry.objects.create(
        user_id=cast("int | str", request.user.pk),
        content_type=ContentType.objects.get_for_model(model),
        object_id=None if pk is None else str(pk),
        object_repr=subject[:200],
        action_flag=CHANGE,
        change_message=message,
    )

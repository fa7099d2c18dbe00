"""The errors of attempts, from records of any form."""

from __future__ import annotations

import datetime

import pytest
from django.utils import timezone

from django_gearman.contrib.store.attempts import attempts_of, frames_of, last_attempt, last_frame
from tests.contrib.store.recorded import TRACEBACK

TEXT = TRACEBACK.format(function="pay", exception="ValueError", message="no")


def test_a_traceback_is_its_frames_and_the_text_between_them():
    frames = frames_of(TEXT)

    assert [(frame.place, frame.is_own) for frame in frames] == [
        ("", True),
        ("/srv/venv/lib/python3.12/site-packages/requests/api.py:59 in get", False),
        ("/srv/shop/jobs.py:12 in pay", True),
        ("", True),
    ]
    assert frames[1].text.endswith('\n    return request("get", url)')
    assert "\n".join(frame.text for frame in frames) == TEXT.rstrip("\n")
    assert last_frame(TEXT) == frames[2]


def test_causes_and_groups_stand_between_frames():
    cause = f"{TEXT}\nThe above exception was the direct cause of the following one:\n\n{TEXT}"
    group = '  + Exception Group Traceback:\n  |   File "/srv/a.py", line 1, in a\n'

    assert "\n".join(frame.text for frame in frames_of(cause)) == cause.rstrip("\n")
    assert last_frame(group).place == "/srv/a.py:1 in a"


@pytest.mark.parametrize(
    ("path", "is_own"),
    [
        ("/srv/shop/jobs.py", True),
        ("/usr/lib/python3.12/json/decoder.py", False),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", False),
        ("C:\\venv\\Lib\\site-packages\\x.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("<string>", True),
    ],
)
def test_code_of_libraries_is_not_the_projects_own(path, is_own):
    [frame] = frames_of(f'  File "{path}", line 3, in f')

    assert frame.is_own is is_own


@pytest.mark.parametrize("text", ["", "\n\n", "no traceback", '  File "', "\0", "x" * 30_000])
def test_any_text_has_frames(text):
    assert isinstance(frames_of(text), list)
    assert last_frame(text) is None


@pytest.mark.parametrize("errors", [None, [], {}, "", 0])
def test_a_record_without_errors_has_an_empty_one(errors):
    assert attempts_of(errors) == []
    assert last_attempt(errors).first_line == ""


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ("text", "text"),
        ({"a": 1}, "{'a': 1}"),
        ([None], "None"),
        ([{"message": None}], ""),
        ([{"message": ["a"], "at": 7, "attempt": "x"}], "['a']"),
        ([{"message": "two\nlines \x1b\u202e"}], "two\nlines \\x1b\\u202e"),
    ],
)
def test_errors_of_another_form_are_texts(errors, message):
    error = last_attempt(errors)

    assert error.message == message
    assert error.time is None


def test_an_invalid_time_is_none():
    for text in ("2026-02-31T00:00:00", "0001-01-01T00:00:00", "9999-12-31T23:59:59+00:00"):
        assert last_attempt([{"at": text}]).time is None
    assert last_attempt([{"at": "2026-02-01T00:00:00+00:00"}]).time.year == 2026


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_with_and_without_a_zone_can_be_compared_with_now(settings, use_tz):
    settings.USE_TZ = use_tz
    for text in ("2026-02-01T00:00:00", "2026-02-01T00:00:00+05:00"):
        assert last_attempt([{"at": text}]).time < timezone.now() + datetime.timedelta(days=9999)

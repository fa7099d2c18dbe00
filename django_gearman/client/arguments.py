"""The arguments of a call: parsing and checks, as the README describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..serializers import Call
from ..utils.text import quoted


class _Missing:
    def __repr__(self) -> str:
        return "<not given>"


MISSING = _Missing()


def collect_call(
    data: object = MISSING,
    arguments: Sequence[Any] = (),
    args: object = None,
    kwargs: object = None,
    job_kwargs: Mapping[str, Any] | None = None,
) -> Call:
    """
    Combine `data`, further positional arguments, `args`, `kwargs` and keyword arguments.

    `data` is the first argument. A None beside anything else only holds its place. `kwargs` wins
    over a keyword of the same name. Raises TypeError for combinations that are not clear.
    """
    keywords = {**(job_kwargs or {}), **_mapping(kwargs)}
    positional = _sequence(args)
    if arguments and args is not None:
        raise TypeError("args= beside further positional arguments: write them all in args=[...]")
    positional = positional or list(arguments)
    if data is MISSING or (data is None and (positional or keywords)):
        return Call(positional, keywords)
    if positional:
        raise TypeError(
            f"data ({quoted(data)}) beside further arguments: write all arguments in "
            "args=[...], or by keyword"
        )
    return Call([data], keywords)


def _sequence(args: object) -> list[Any]:
    if args is None:
        return []
    if not isinstance(args, (list, tuple, Iterator)):
        given = quoted(args)
        raise TypeError(f"args is a list or tuple of arguments, not {given}; write args=[{given}]")
    return list(args)


def _mapping(kwargs: object) -> dict[str, Any]:
    if kwargs is None:
        return {}
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs is a dict of arguments, not {quoted(kwargs)}")
    if wrong := [name for name in kwargs if not isinstance(name, str)]:
        raise TypeError(f"kwargs has the name {quoted(wrong[0])}; names of arguments are strings")
    return dict(kwargs)


_SHORT = {"task", "data"}
_JOB_KEYS = ("task", "data", "unique", "priority", "args", "kwargs")


def parse_job(entry: object) -> tuple[Any, Call, Any, Any]:
    """Parse an element of `submit_multiple_jobs`: (task, call, unique, priority)."""
    if type(entry) is dict and entry.keys() == _SHORT and type(entry["data"]) is not dict:
        return entry["task"], Call([entry["data"]]), None, None  # the usual case
    if not isinstance(entry, Mapping) or "task" not in entry:
        raise TypeError(f"a job to submit is a dict with at least 'task', not {quoted(entry)}")
    if unknown := [key for key in entry if key not in _JOB_KEYS]:
        given, known = quoted(dict(entry)), ", ".join(_JOB_KEYS)
        raise TypeError(f"unknown {quoted(unknown)} in {given}; a job has {known}")
    match entry:
        case {"data": {"args": list(args), "kwargs": dict(kwargs), **rest}} if (
            not rest and entry.get("args") is None and entry.get("kwargs") is None
        ):
            call = collect_call(args=args, kwargs=kwargs)
        case _:
            data = entry.get("data", MISSING)
            call = collect_call(data, (), entry.get("args"), entry.get("kwargs"))
    return entry["task"], call, entry.get("unique"), entry.get("priority")


def parse_alike(entries: Sequence[Any]) -> tuple[Any, list[Any]]:
    """
    Parse elements of `submit_multiple_jobs` that have the same task and only data: (task, all data).

    Returns no data if one of them has more, or something else.
    """
    try:
        task = entries[0]["task"]
        data = [
            each["data"] for each in entries if each["task"] is task and len(each) == len(_SHORT)
        ]
    except (TypeError, LookupError):
        return None, []
    are_alike = len(data) == len(entries) and {*map(type, entries)} == {dict}
    return (task, data) if are_alike and dict not in {*map(type, data)} else (None, [])


def check_flags(**flags: object) -> None:
    """Raise TypeError for an option that is not True, False or None."""
    for name, value in flags.items():
        if not isinstance(value, (bool, type(None))):
            raise TypeError(
                f"{name} is True, False or None, not {quoted(value)}; "
                "write several arguments of a job as args=[...]"
            )

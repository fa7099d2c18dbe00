"""A bound for the values of a label."""

from __future__ import annotations

#: The value in place of further names.
OTHER = "other"
#: Names that the project does not declare, in one label.
MOST_UNKNOWN = 200


class Folded:
    """
    The values of a label whose names may come from anywhere.

    The jobs of the project all have their own value. Of all other names, the first 200 have one, and the
    rest share one. The reason: each value is a time series, which Prometheus keeps forever.
    """

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def label(self, name: str, *, is_known: bool) -> str:
        """Return the value for a name; `is_known` for a job of the project."""
        if is_known or name in self._shown:
            return name
        if len(self._shown) >= MOST_UNKNOWN:
            return OTHER
        self._shown.add(name)
        return name

"""The version of this package, for every room: an import of the package counts as one of all rooms."""

from __future__ import annotations

import sys

VERSION: str = sys.modules[__name__.partition(".")[0]].__version__

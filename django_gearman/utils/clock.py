"""The clock of every deadline."""

from __future__ import annotations

import time
from functools import partial

#: The monotonic clock in seconds. Tests freeze `time.monotonic`, even if it was imported by name
#: before. freezegun and time-machine leave this function alone, so that waiting still ends.
monotonic = partial(time.clock_gettime, time.CLOCK_MONOTONIC)

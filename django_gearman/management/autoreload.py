"""Autoreload for development: new worker processes when a file of the project changes."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from django.utils import autoreload


def reload_on_change() -> None:
    """Watch the project's files in a thread, and send SIGHUP to this process when one changes."""

    def on_change(**kwargs: Any) -> bool:
        os.kill(os.getpid(), signal.SIGHUP)
        return True  # the change is handled

    autoreload.file_changed.connect(on_change, weak=False)
    reloader = autoreload.get_reloader()
    threading.Thread(target=reloader.run, args=[threading.main_thread()], daemon=True).start()

"""A process of the pool does not outlive its worker: what it works on comes back, and would run twice."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

__all__ = ["end_with_the_parent"]

_PR_SET_PDEATHSIG = 1


def end_with_the_parent() -> None:
    """Have the kernel end this process when its parent is killed; on Linux. An autoscaler's thread is no parent that
    lasts: its processes are left
    alone."""
    if sys.platform != "linux" or threading.current_thread().name != "MainThread":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)

"""A worker's part of a fault: its process is killed behind the n-th command that a task sends to Redis."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from celery.signals import task_prerun
from redis.connection import AbstractConnection

WANTED = Path(os.environ["KILL_AT"])
"""Holds a task's name and a number; it goes when such a task begins."""

_left = 0


@task_prerun.connect(weak=False)
def _begin(task: Any, **_: Any) -> None:
    global _left
    _left = 0
    name, _, number = WANTED.read_text().partition(" ") if WANTED.exists() else ("", "", "")
    if name == task.name:
        WANTED.unlink()
        _left = int(number)


_send = AbstractConnection.send_packed_command


def _send_and_die(self: AbstractConnection, *args: Any, **options: Any) -> Any:
    global _left
    sent = _send(self, *args, **options)
    _left -= 1
    if _left == 0:
        WANTED.with_suffix(".done").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return sent


AbstractConnection.send_packed_command = _send_and_die  # type: ignore[method-assign]  # it is the fault

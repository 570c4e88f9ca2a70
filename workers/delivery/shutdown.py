"""SIGTERM: take nothing new, give what runs SOFT_SHUTDOWN_S to finish, then hand its messages back and end.

Celery's own soft shutdown sleeps in the signal handler, all of the time, with its event loop standing still: nothing that finishes meanwhile is
acknowledged, and a worker whose only task ends at once still waits a minute.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import Any

from celery import bootsteps
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.platforms import EX_OK
from celery.utils.functional import noop
from celery.worker import state
from kombu.common import ignore_errors

from workers.delivery.held import running_requests

__all__ = ["SoftShutdown"]

logger = logging.getLogger(__name__)

TERMINATION_S = 2.0
"""Seconds that a process of the pool has to end after SIGTERM, before SIGKILL."""


class SoftShutdown(bootsteps.StartStopStep):
    """Worker step that takes SIGTERM and SIGINT over from Celery; a second signal is Celery's cold shutdown."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._asked = threading.Event()
        self._handing_over = False

    def start(self, worker: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # a worker inside another program's process: the signals are not ours
        # Started now: a signal handler is no place for it.
        threading.Thread(target=self._wait_and_finish, args=(worker,), name="soft-shutdown", daemon=True).start()

        def on_signal(number: int, frame: Any) -> None:
            if not self._asked.is_set():
                self._asked.set()
                return
            cold_shutdown = signal.getsignal(signal.SIGQUIT)
            if callable(cold_shutdown):
                cold_shutdown(number, frame)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)

    def _wait_and_finish(self, worker: Any) -> None:
        self._asked.wait()
        soft_s = float(worker.app.conf.worker_soft_shutdown_timeout)
        deadline = time.monotonic() + soft_s
        if running_requests():
            logger.warning("Stopping: %d tasks have %g s to finish", len(running_requests()), soft_s)
            worker.consumer.call_soon(_take_nothing_new, worker.consumer)
        while running_requests() and time.monotonic() < deadline:
            time.sleep(0.05)
        left = running_requests()
        if not left:
            state.should_stop = EX_OK
        else:
            logger.warning("Handing over %d tasks that did not finish", len(left))
            if not isinstance(worker.pool, PreforkPool):
                _leave(left)
            self._handing_over = True
            state.should_terminate = EX_OK
        worker.consumer.call_soon(noop)  # wakes the event loop, which then sees the flag

    def close(self, worker: Any) -> None:
        """Runs in the main thread, when the event loop has ended and the pool has not."""
        if not self._handing_over:
            return
        pids = {request.worker_pid for request in running_requests() if request.worker_pid}
        worker.consumer.cancel_active_requests()
        deadline = time.monotonic() + TERMINATION_S
        while any(map(_is_running, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in filter(_is_running, pids):
            os.kill(pid, signal.SIGKILL)


def _take_nothing_new(consumer: Any) -> None:
    if consumer.task_consumer is not None and consumer.connection is not None:
        ignore_errors(consumer.connection, consumer.task_consumer.cancel)


def _leave(requests: list[Any]) -> None:
    """Hand over and end at once: a thread that works on a task cannot be stopped otherwise."""
    for request in requests:
        try:
            request.message.channel.qos.restore_by_tag(request.message.delivery_tag, uncount=True)
        except Exception:
            logger.exception("Cannot hand over %s; it comes back after the visibility timeout", request.id)
    os._exit(EX_OK)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False

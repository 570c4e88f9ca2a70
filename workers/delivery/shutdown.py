"""Stopping: take nothing new, give what runs SOFT_SHUTDOWN_S to finish, then hand its messages back and end. A stop
always ends.

One way for all who ask: SIGTERM, SIGINT, SIGHUP (which starts the worker anew), `celery control shutdown` and Flower's
button. SIGQUIT and a second signal hand over at once.

Celery's own soft shutdown sleeps in the signal handler, all of the time, with its event loop standing still: nothing
that finishes meanwhile is acknowledged, and a worker whose only task ends at once still waits a minute. Its warm one
waits for ever.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from billiard.process import active_children
from celery import bootsteps
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.exceptions import WorkerShutdown
from celery.platforms import EX_FAILURE, EX_OK
from celery.utils.functional import noop
from celery.worker import state
from celery.worker.control import control_command
from kombu.common import ignore_errors

from workers.delivery.held import is_stopping, running_requests
from workers.delivery.qos import catch_up

__all__ = ["SoftShutdown"]

logger = logging.getLogger(__name__)

TERMINATION_S = 2.0
"""Seconds that a process of the pool has to end after SIGTERM, before SIGKILL."""
END_S = 10.0
"""Seconds that a worker has to end once nothing runs in it, whatever it waits for; then it is ended."""


class SoftShutdown(bootsteps.StartStopStep):
    """Worker step that takes stopping over from Celery."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._asked = threading.Event()
        self._at_once = threading.Event()
        self._handing_over = False
        self._restarts = False
        worker.soft_shutdown = None

    def start(self, worker: Any) -> None:
        # Started now: a signal handler is no place for it.
        threading.Thread(target=self._run, args=(worker,), name="soft-shutdown", daemon=True).start()
        if threading.current_thread() is not threading.main_thread():
            return  # a worker inside another program's process: the signals are not ours
        worker.soft_shutdown = self
        has_terminal = sys.stdin is not None and sys.stdin.isatty()

        def on_signal(number: int, frame: Any) -> None:  # noqa: ARG001 - a signal handler's signature
            if number == signal.SIGHUP and not self._asked.is_set():
                self._restarts = not has_terminal  # else the terminal is gone, and nobody would see a new worker
            if number == signal.SIGQUIT or self._asked.is_set():
                self._at_once.set()
            self._asked.set()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, on_signal)

    def ask(self) -> None:
        """Have the worker stop."""
        self._asked.set()

    def _run(self, worker: Any) -> None:
        soft_s = float(worker.app.conf.worker_soft_shutdown_timeout)
        while not self._asked.wait(0.5):
            if _is_ending(worker):
                break  # somebody else ends it: an error, or a program that this worker is part of
        else:
            self._finish(worker, soft_s)
            soft_s = 0.0
        self._see_it_end(worker, soft_s + END_S)

    def _finish(self, worker: Any, soft_s: float) -> None:
        deadline = time.monotonic() + soft_s
        if running_requests():
            logger.warning("Stopping: %d tasks have %g s to finish", len(running_requests()), soft_s)
            worker.consumer.call_soon(_take_nothing_new, worker.consumer)
        while running_requests() and time.monotonic() < deadline and not self._at_once.wait(0.05):
            pass
        if self._restarts:
            atexit.register(_start_anew)
        left = running_requests()
        if not left:
            state.should_stop = EX_OK
        else:
            logger.warning("Handing over %d tasks that did not finish", len(left))
            if not isinstance(worker.pool, PreforkPool):
                self._leave(left, EX_OK)
            self._handing_over = True
            state.should_terminate = EX_OK
        worker.consumer.call_soon(noop)  # wakes the event loop, which then sees the flag

    def _see_it_end(self, worker: Any, within_s: float) -> None:
        time.sleep(within_s)
        left = running_requests()
        logger.critical(
            "The stop does not come to its end within %g s: ended, %d tasks handed over", within_s, len(left)
        )
        self._leave(left, EX_OK if self._asked.is_set() else worker.exitcode or EX_FAILURE)

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

    def _leave(self, requests: list[Any], code: int) -> None:
        """Hand over and end at once: the processes of the pool first, so that nothing runs here and elsewhere at a
        time."""
        for process in active_children():
            if process.pid and _is_running(process.pid):
                os.kill(process.pid, signal.SIGKILL)
        try:
            catch_up()
            for request in requests:
                request.message.channel.qos.put_back(request.message.delivery_tag)
        except Exception:
            logger.exception("Cannot hand over; it comes back after the visibility timeout")
        logging.shutdown()
        if self._restarts:
            _start_anew()
        os._exit(code)


@control_command()
def shutdown(state: Any, msg: str = "Got shutdown from remote", **_: Any) -> None:
    """Shutdown worker(s)."""
    logger.warning(msg)
    step = getattr(state.consumer.controller, "soft_shutdown", None)
    if step is None:
        raise WorkerShutdown(EX_OK)
    step.ask()


def _is_ending(worker: Any) -> bool:
    return is_stopping() or worker.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE)


def _take_nothing_new(consumer: Any) -> None:
    if consumer.task_consumer is not None and consumer.connection is not None:
        ignore_errors(consumer.connection, consumer.task_consumer.cancel)


def _start_anew() -> None:
    # As it was started: Celery's own way loses "python -m".
    os.closerange(3, 4096)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program itself


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - once a tick; a Path costs more than the read
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False

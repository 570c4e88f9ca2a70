"""The end of a program that has started others: they have to end with it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Final

__all__ = ["ending_with_us", "on_signals", "signals_interrupt"]

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_SETPRIV: Final = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()


def ending_with_us(command: Sequence[str]) -> list[str]:
    """``command``, so that on Linux it is told to end when this process is killed and cannot tell it."""
    # The kernel watches the thread that starts it, and no other is sure to live as long as the process.
    is_main = threading.current_thread() is threading.main_thread()
    return [*(_SETPRIV if is_main else ()), *command]


@contextlib.contextmanager
def on_signals(act: Callable[[], object]) -> Iterator[None]:
    """Call ``act`` at Ctrl-C, at SIGTERM and where the terminal is closed (SIGHUP), but for what nohup, or a script
    that runs it in the background, has switched off."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        act()

    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    heard = [number for number in ENDING if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """All of them raise KeyboardInterrupt, as Ctrl-C does by itself: what was started is ended on the way out."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with on_signals(interrupt):
        yield

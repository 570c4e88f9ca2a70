"""How many event streams a process has open, and whether they should end."""

from __future__ import annotations

import asyncio

__all__ = ["Streams"]


class Streams:
    """The event streams of this process: how many there are, and whether they should end."""

    def __init__(self) -> None:
        self.n_open = 0
        self.closing = asyncio.Event()

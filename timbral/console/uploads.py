"""A file that a browser sends, streamed to the disk of the API: never in memory, never larger than it may be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from anyio.to_thread import run_sync
from fastapi import Request

from timbral.api.middleware.limits import CLOSE
from timbral.api.refusals import Refused

__all__ = ["MB", "receive_file"]

MB: Final = 1_000_000
STALLED_S: Final = 30.0
"""Without a byte for so long, a sender is gone."""
BLOCK: Final = 4 * 2**20


async def receive_file(request: Request, path: Path, max_mb: int) -> int:
    """Write the request's body to ``path``; gives its bytes.

    Raises:
        Refused: 413, it is larger than ``max_mb``; 408, it stalled; 422, it is empty or was cut off; 507, the disk is
            full.
    """
    said = request.headers.get("content-length")
    if said is not None and not (said.isdigit() and int(said[:20]) <= max_mb * MB):
        raise _too_large(max_mb)
    n_bytes, block = 0, bytearray()
    chunks = aiter(request.stream())
    try:
        with path.open("wb") as file:
            while True:
                try:
                    async with asyncio.timeout(STALLED_S):
                        chunk = await anext(chunks, None)
                except TimeoutError:
                    raise Refused(408, f"Nothing of the file came for {STALLED_S:g} s", headers=CLOSE) from None
                n_bytes += len(chunk or b"")
                if n_bytes > max_mb * MB:
                    raise _too_large(max_mb)
                block += chunk or b""
                if len(block) >= BLOCK or chunk is None:
                    await run_sync(file.write, bytes(block))
                    block.clear()
                if chunk is None:
                    break
    except OSError as error:
        raise Refused(507, f"The file cannot be stored here: {error.strerror}", headers=CLOSE) from None
    if not n_bytes or (said is not None and n_bytes != int(said)):
        raise Refused(422, "The file is empty, or was cut off on its way")
    return n_bytes


def _too_large(max_mb: int) -> Refused:
    message = (
        f"A file may have {max_mb:,} MB at most here (IMPORT_MAX_MB): import it on a machine that has it, with timbral "
        "plays import FILE"
        if max_mb
        else "No files are imported here (IMPORT_MAX_MB=0): timbral plays import FILE does it"
    )
    return Refused(413, message, headers=CLOSE)

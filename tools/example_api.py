"""A real HTTP API on the example's models, for pictures and measurements."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["example_api"]


@contextmanager
def example_api(redis_url: str, directory: str) -> Iterator[tuple[str, int]]:
    """One process of the API on a free port; gives its URL and process id. Models are below ``directory``."""
    environment = os.environ | {
        "REDIS_URL": redis_url, "MODEL_DIR": f"{directory}/models", "DATA_DIR": directory, "API_HOST": "127.0.0.1",
        "API_PORT": "0", "API_WORKERS": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "timbral.api.serve"], cwd=directory, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stderr.readline() if process.stderr is not None else ""
        yield line.split()[3], process.pid
    finally:
        process.terminate()
        process.wait(20)

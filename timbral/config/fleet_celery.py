"""celeryconfig.py, loaded by its place and not by its name: an app that uses Celery itself often has a module of that
name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

__all__ = ["CELERYCONFIG", "celery_settings"]

CELERYCONFIG: Final = Path(__file__).resolve().parents[2] / "celeryconfig.py"
"""It lies beside the packages, in a clone and in an installation alike."""


def celery_settings() -> ModuleType:
    """The fleet's Celery settings, whatever ``celeryconfig`` means in the folder that a program runs in.

    Raises:
        ImportError: the file is not there.
    """
    spec = importlib.util.spec_from_file_location("timbral_celeryconfig", CELERYCONFIG)
    if spec is None or spec.loader is None or not CELERYCONFIG.is_file():
        raise ImportError(f"cannot load {CELERYCONFIG}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Ids as people type them: a beginning that only one of them has stands for the whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from timbral.errors import ParameterError

__all__ = ["shortened", "whole_id"]

SHORTEST = 8


def shortened(ids: Collection[str]) -> dict[str, str]:
    """Each id and its beginning, long enough that no two are alike."""
    length = SHORTEST
    while len({one[:length] for one in ids}) < len(set(ids)):
        length += 2
    return {one: one[:length] for one in ids}


def whole_id(beginning: str, ids: Iterable[str], what: str) -> str:
    """The one of ``ids`` that begins so; ``beginning`` itself where it is one, or where none does.

    Raises:
        ParameterError: several do.
    """
    alike = sorted({one for one in ids if one.startswith(beginning)}) if beginning else []
    if beginning in alike or not alike:
        return beginning
    if len(alike) > 1:
        listed = ", ".join(alike[:5]) + (", …" if len(alike) > 5 else "")
        raise ParameterError(f"{len(alike)} {what}s begin with {beginning!r}: {listed}")
    return alike[0]

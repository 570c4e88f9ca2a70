"""Filter masks: which items of a model a filter keeps out, kept by each process until a set or the model changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import redis

from timbral.errors import ParameterError
from timbral.lists.filtered import ItemFilter
from timbral.lists.item_sets import ItemSet, ItemSets
from timbral.versions.served_model import ServedModel

__all__ = ["filter_mask"]

Mask = npt.NDArray[np.bool_]

MOST_BYTES: Final = 256 * 2**20

_lock = threading.Lock()
_kept: OrderedDict[Any, Mask] = OrderedDict()


def filter_mask(client: redis.Redis, served: ServedModel, wanted: ItemFilter) -> tuple[ItemFilter, Mask]:
    """The filter with its sets' versions, and bool (n_items,), True for what it keeps out. Redis is asked for the
    versions alone, unless one is new.

    Raises:
        ParameterError: there is no set of one of the names; nothing that the model knows is allowed.
    """
    sets = {one.name: one for one in ItemSets(client).named(wanted.names)}
    known = replace(wanted, versions={name: one.version for name, one in sets.items()})
    whole = (served.version, served.revision, wanted.text, *sorted(known.versions.items()))
    mask = _of(whole)
    if mask is None:
        mask = np.zeros(len(served.item_ids), bool)
        for name in wanted.allow:
            mask |= ~_members(client, served, sets[name])
        for name in wanted.exclude:
            mask |= _members(client, served, sets[name])
        mask.flags.writeable = False
        _keep(whole, mask)
    if mask.all():
        raise ParameterError(f"the live model knows no item that {wanted.text} would leave")
    return known, mask


def _members(client: redis.Redis, served: ServedModel, wanted: ItemSet) -> Mask:
    name = (served.version, served.revision, wanted.name, wanted.version)
    mask = _of(name)
    if mask is None:
        items = ItemSets(client).items(wanted.name)
        codes = served.item_ids.codes(items) if items else np.empty(0, np.int32)
        mask = np.zeros(len(served.item_ids), bool)
        mask[codes[codes >= 0]] = True
        mask.flags.writeable = False
        _keep(name, mask)
    return mask


def _of(name: Any) -> Mask | None:
    with _lock:
        found = _kept.get(name)
        if found is not None:
            _kept.move_to_end(name)
        return found


def _keep(name: Any, mask: Mask) -> None:
    with _lock:
        _kept[name] = mask
        while len(_kept) > 1 and sum(one.nbytes for one in _kept.values()) > MOST_BYTES:
            _kept.popitem(last=False)

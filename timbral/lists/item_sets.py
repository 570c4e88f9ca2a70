"""ItemSets: sets of items by name (a category, what may be shown in a country), for lists from some items alone.

A set is written beside the old one and takes its name in one step: nobody meets half of it. Each time it gets a new
version, by which whoever keeps what was made of it knows whether that still holds.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import redis
from pydantic_core import from_json

from timbral import keys
from timbral.errors import ParameterError
from timbral.messages import SET_NAME, Id, checked_ids
from timbral.redis_server.replies import text

__all__ = ["ItemSet", "ItemSets", "unknown_set"]

PER_CALL: Final = 10_000
STAGED_LIFE_S: Final = 600

SWITCH = """
-- KEYS: the set as it was written, the set, all sets. ARGV: name, number of items, what is known of it.
local n = tonumber(ARGV[2])
if n > 0 and redis.call('SCARD', KEYS[1]) ~= n then return 0 end
if n > 0 then
  redis.call('PERSIST', KEYS[1])
  redis.call('RENAME', KEYS[1], KEYS[2])
else
  redis.call('UNLINK', KEYS[2])
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
return 1
"""


class ItemSet(NamedTuple):
    """What is known of a set beside its items; ``changed`` is in seconds since 1970, and no two puts have one
    ``version``."""

    name: str
    version: str
    n_items: int
    changed: int


class ItemSets:
    """The sets of one fleet."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client
        self._switch = redis_client.register_script(SWITCH)

    def put(self, name: str, item_ids: Iterable[Id]) -> ItemSet:
        """Have ``name`` be the set of these items, whatever it was before; any number of them, none as well.

        Raises:
            ParameterError: a name that no set may have, an id that is none; the set is as it was.
            RuntimeError: what was written was gone before it got its name.
        """
        _check(name)
        members = {keys.encode_id(item_id) for item_id in checked_ids(item_ids, "item_ids")}
        made = ItemSet(name, uuid.uuid4().hex, len(members), int(time.time()))
        staged, listed = keys.item_set(f"{name}:{made.version}"), list(members)
        for start in range(0, len(listed), PER_CALL):
            with self.redis.pipeline(transaction=False) as pipeline:
                pipeline.sadd(staged, *listed[start : start + PER_CALL])
                pipeline.expire(staged, STAGED_LIFE_S)
                pipeline.execute()
        known = {"version": made.version, "n_items": made.n_items, "changed": made.changed}
        names = [staged, keys.item_set(name), keys.ITEM_SETS]
        if not self._switch(keys=names, args=[name, made.n_items, json.dumps(known)]):
            raise RuntimeError(f"the items of the set {name!r} were gone before they got its name: try again")
        return made

    def delete(self, name: str) -> bool:
        """Remove a set; whether there was one."""
        _check(name)
        with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.hdel(keys.ITEM_SETS, name)
            pipeline.unlink(keys.item_set(name))
            return bool(pipeline.execute()[0])

    def listed(self) -> list[ItemSet]:
        """All sets, by name."""
        stored: Any = self.redis.hgetall(keys.ITEM_SETS)
        known = {text(name): value for name, value in stored.items()}
        return [_read(name, known[name]) for name in sorted(known)]

    def named(self, names: Sequence[str]) -> list[ItemSet]:
        """These sets.

        Raises:
            ParameterError: there is none of one of these names.
        """
        stored: Any = self.redis.hmget(keys.ITEM_SETS, list(names)) if names else []
        for name, value in zip(names, stored, strict=True):
            if value is None:
                raise unknown_set(name)
        return [_read(name, value) for name, value in zip(names, stored, strict=True)]

    def items(self, name: str, most: int | None = None) -> list[Id]:
        """Of the set, as it is at one moment, all items, or ``most``; in no order.

        Raises:
            ParameterError: there is none of this name, or its items are not those that were put there.
        """
        while True:
            before = self.named([name])[0]
            found = list(dict.fromkeys(self._scan(name, most)))[:most]
            if self.named([name])[0].version == before.version:
                break
        if len(found) != before.n_items if most is None else len(found) < min(most, before.n_items):
            raise ParameterError(
                f"the item set {name!r} has {len(found)} items, and {before.n_items} were put there: "
                f"{keys.item_set(name)} was changed or lost; put it again"
            )
        return found

    def _scan(self, name: str, most: int | None) -> Iterator[Id]:
        cursor, n_found = 0, 0
        while True:
            cursor, members = self.redis.sscan(keys.item_set(name), cursor, count=min(most or PER_CALL, PER_CALL))
            yield from from_json("[" + ",".join(map(text, members)) + "]")
            n_found += len(members)
            if not cursor or (most is not None and n_found >= most):
                return


def unknown_set(name: str) -> ParameterError:
    """What to raise where a set is asked for that is not there."""
    return ParameterError(f"there is no item set {name!r}; timbral sets list shows those there are")


def _read(name: str, value: Any) -> ItemSet:
    known = json.loads(value)
    return ItemSet(name, str(known["version"]), int(known["n_items"]), int(known["changed"]))


def _check(name: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(SET_NAME, name):
        raise ParameterError(
            f"the name of an item set must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or a "
            f"digit; got {name!r}"
        )

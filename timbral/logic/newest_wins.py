"""NewestWins: writes what was made of users' plays, so that what knows of more plays stays, in whatever order workers
write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import redis

from timbral import keys

__all__ = ["NewestWins"]

WRITES_PER_TRIP: Final = 500

WRITE_MANY = """
-- KEYS: what lists know of, then the keys to write. ARGV: life in s, 1 where newest plays follow, 1 where list keys
-- follow; then the values;
-- then of each the id of the newest play that it knows of, or ''; then of each the key of the user's list, where
-- that is not what is written.
-- A SET each, which costs the client a fifth of a pipeline's.
local n = #KEYS - 1
local has_newest, has_lists = ARGV[2] == '1', ARGV[3] == '1'
local compare = redis.call('EXISTS', KEYS[1]) == 1
local function order(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
for i = 1, n do
  local mine = has_newest and ARGV[3 + n + i] or ''
  local list = has_lists and ARGV[#ARGV - n + i] or KEYS[i + 1]
  local other = compare and redis.call('HGET', KEYS[1], list)
  local is_newest = true
  if other then
    is_newest = mine ~= ''
    if is_newest then
      local my_ms, my_seq = order(mine)
      local ms, seq = order(other)
      is_newest = my_ms > ms or (my_ms == ms and my_seq >= seq)
    end
  end
  if is_newest then
    redis.call('SET', KEYS[i + 1], ARGV[3 + i], 'EX', ARGV[1])
    if mine ~= '' and not has_lists then redis.call('HSET', KEYS[1], list, mine) end
  end
end
"""


class NewestWins:
    """Writes keys of users with a life of their own, many in a round trip."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self._write = redis_client.register_script(WRITE_MANY)

    def write(
        self,
        names: Sequence[str],
        values: Sequence[str | bytes],
        newest: Sequence[str],
        ttl_s: int,
        lists: Sequence[str] = (),
    ) -> None:
        """Set ``names[i]`` to ``values[i]``, unless the user's list knows of plays after ``newest[i]``, an id in the
        stream or "".

        ``lists`` are the keys of the users' lists, where ``names`` are not; they must be written before.
        """
        for start in range(0, len(names), WRITES_PER_TRIP):
            part = slice(start, start + WRITES_PER_TRIP)
            ids = newest[part] if any(newest[part]) else []
            head = [ttl_s, int(bool(ids)), int(bool(lists))]
            self._write(keys=[keys.PLAYS_LISTED, *names[part]], args=[*head, *values[part], *ids, *lists[part]])

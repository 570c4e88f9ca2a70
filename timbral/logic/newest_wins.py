"""NewestWins: writes what was made of users' plays, so that what knows of more plays stays, in whatever order workers
write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import redis

from timbral import keys
from timbral.redis_server.replies import text

__all__ = ["NewestWins", "Vectors"]

WRITES_PER_TRIP: Final = 500

WRITE_MANY = """
-- KEYS: what lists know of, salt of the forgotten users, the users' lists, then their vectors where these are written.
-- ARGV: number of users, life of a list in s, life of a vector in s, 1 where newest plays follow; then the lists, the
-- vectors, and of each user the id of the newest play that both know of, or ''.
-- A SET each, which costs the client a fifth of a pipeline's. Gives the salt, as it is once all is written.
local n = tonumber(ARGV[1])
local has_vectors, has_newest = #KEYS > 2 + n, ARGV[4] == '1'
local compare = redis.call('EXISTS', KEYS[1]) == 1
local function order(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
for i = 1, n do
  local mine = has_newest and ARGV[#ARGV - n + i] or ''
  local list = KEYS[2 + i]
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
    redis.call('SET', list, ARGV[4 + i], 'EX', ARGV[2])
    if has_vectors then redis.call('SET', KEYS[2 + n + i], ARGV[4 + n + i], 'EX', ARGV[3]) end
    if mine ~= '' then redis.call('HSET', KEYS[1], list, mine) end
  end
end
return redis.call('GET', KEYS[2]) or ''
"""


class Vectors(NamedTuple):
    """Users' vectors, to be written with their lists: each under its name, for ``ttl_s`` seconds."""

    names: Sequence[str]
    values: Sequence[bytes]
    ttl_s: int


class NewestWins:
    """Writes users' lists, and the vectors that they were made from, many in a round trip."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self._write = redis_client.register_script(WRITE_MANY)

    def write(
        self,
        names: Sequence[str],
        lists: Sequence[str],
        newest: Sequence[str],
        ttl_s: int,
        vectors: Vectors | None = None,
    ) -> str:
        """Set ``names[i]`` to ``lists[i]``, and vector ``i``, unless the list there knows of plays after ``newest[i]``,
        an id in the stream or "".

        Returns:
            The salt of the forgotten users as it was when all was written, "" where there are none, for
            ``Forgotten.keep_out``.
        """
        salt = ""
        for start in range(0, len(names), WRITES_PER_TRIP):
            part = slice(start, start + WRITES_PER_TRIP)
            ids = newest[part] if any(newest[part]) else []
            head = [len(names[part]), ttl_s, vectors.ttl_s if vectors else 0, int(bool(ids))]
            more = (vectors.names[part], vectors.values[part]) if vectors else ((), ())
            known = [keys.PLAYS_LISTED, keys.FORGOTTEN_SALT, *names[part], *more[0]]
            salt = text(self._write(keys=known, args=[*head, *lists[part], *more[1], *ids]))
        return salt

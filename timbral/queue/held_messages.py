"""HeldMessages: which tasks' messages are in a queue or with a worker. A task whose message is neither is lost or done.

The looking is done by scripts on the server, which answer with ids: no message comes here, however long the queues and
however large the messages. Each call looks at a bounded part, so that it holds up nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import redis

from timbral.queue import layout
from timbral.redis_server.replies import text

__all__ = ["HeldMessages"]

ITEMS_PER_CALL: Final = 1_000
BYTES_PER_CALL: Final = 4_000_000
IDS_PER_LOOK: Final = 2_000

# An id stands in a message as "id": "…". In a body it would be base64, or its quotes escaped.
_IDS = """
local wanted = {}
local found = {}
local function look(item)
  local place = 1
  while true do
    local _, last = string.find(item, '"id":', place, true)
    if not last then return end
    local id = string.match(item, '^%s*"([^"]+)"', last + 1)
    if id and wanted[id] then found[#found + 1] = id end
    place = last + 1
  end
end
"""

# KEYS: list. ARGV: where to begin, most items, most bytes, ids. Where to go on (-1 at the end), and the ids that are
# there.
_IN_LIST = (
    _IDS
    + """
for place = 4, #ARGV do wanted[ARGV[place]] = true end
local start, items_left, bytes_left, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), 1
while items_left > 0 and bytes_left > 0 do
  local items = redis.call('LRANGE', KEYS[1], start, start + step - 1)
  if #items == 0 then return {-1, found} end
  for _, item in ipairs(items) do
    look(item)
    bytes_left = bytes_left - #item
  end
  start, items_left = start + #items, items_left - #items
  step = math.max(1, math.min(100, items_left, math.floor(1000000 / (#items[#items] + 1))))
end
return {start, found}
"""
)

# KEYS: hash. ARGV: cursor, most items, most bytes, ids. The next cursor (0 at the end), and the ids that are there.
_IN_HASH = (
    _IDS
    + """
for place = 4, #ARGV do wanted[ARGV[place]] = true end
local cursor, items_left, bytes_left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
repeat
  local reply = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 10)
  cursor = reply[1]
  for place = 2, #reply[2], 2 do
    look(reply[2][place])
    items_left, bytes_left = items_left - 1, bytes_left - #reply[2][place]
  end
until cursor == '0' or items_left <= 0 or bytes_left <= 0
return {cursor, found}
"""
)


class HeldMessages:
    """The queues of the broker, and ``unacked``, where a message lies from the moment that a worker takes it."""

    def __init__(self, broker: redis.Redis) -> None:
        self.broker = broker
        self._in_list = broker.register_script(_IN_LIST)
        self._in_hash = broker.register_script(_IN_HASH)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self.among([task_id])

    def among(self, task_ids: Collection[str]) -> set[str]:
        """Those of the tasks whose message is somewhere."""
        found: set[str] = set()
        listed = list(dict.fromkeys(task_ids))
        for start in range(0, len(listed), IDS_PER_LOOK):
            found |= self._among(listed[start : start + IDS_PER_LOOK])
        return found

    def _among(self, task_ids: list[str]) -> set[str]:
        # An id with a quote or a backslash cannot be told from the text around it: it counts as held, and is not sent
        # again.
        found = {task_id for task_id in task_ids if '"' in task_id or "\\" in task_id}
        # With a worker first, which is looked up quickly; then the queues; then what workers have taken from there
        # meanwhile.
        for look in (self._with_workers, self._waiting, self._with_workers):
            missing = [task_id for task_id in task_ids if task_id not in found]
            if missing:
                forms = {form: task_id for task_id in missing for form in (task_id, layout.id_in_json(task_id))}
                found |= {forms[form] for form in look(list(forms))}
        return found

    def _with_workers(self, forms: list[str]) -> Iterator[str]:
        cursor = "0"
        while True:
            given: list[Any] = [cursor, ITEMS_PER_CALL, BYTES_PER_CALL, *forms]
            reply = self._in_hash(keys=[layout.UNACKED], args=given)
            cursor = text(reply[0])
            yield from map(text, reply[1])
            if cursor == "0":
                return

    def _waiting(self, forms: list[str]) -> Iterator[str]:
        for key in layout.all_queue_keys():
            start = 0
            while start >= 0:
                given: list[Any] = [start, ITEMS_PER_CALL, BYTES_PER_CALL, *forms]
                start, found = self._in_list(keys=[key], args=given)
                yield from map(text, found)

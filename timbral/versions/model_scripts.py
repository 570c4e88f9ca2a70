"""What the model store does in one step, as Lua."""

from __future__ import annotations

__all__ = ["BEGIN", "FINISH", "PROMOTE", "PUBLISH_REVISION", "RETIRE", "ROLL_BACK"]

BEGIN = """
-- KEYS: trainings, fence, promoted fence, versions. ARGV: task id, time stamp.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then return known end
local fence = redis.call('INCR', KEYS[2])
-- A Redis that lost its last writes, or all, has trainings end that it never counted: this one is later.
local newest = redis.call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local highest = math.max(tonumber(redis.call('GET', KEYS[3]) or '0'), tonumber(newest[2] or '0'))
if fence <= highest then
  fence = highest + 1
  redis.call('SET', KEYS[2], string.format('%d', fence))
end
local made = cjson.encode({version = ARGV[2] .. '-' .. string.format('%d', fence), fence = fence})
redis.call('HSET', KEYS[1], ARGV[1], made)
return made
"""

FINISH = """
-- KEYS: trainings. ARGV: task id, version, what is known of it from now on.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and cjson.decode(known).version ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""

SWITCH = """
local function switch(first)
  for place = first + 1, #ARGV do
    local staged = ARGV[first] .. ARGV[place]
    if redis.call('EXISTS', staged) == 1 then redis.call('RENAME', staged, ARGV[place]) end
  end
end
"""
"""The version's lists, which were put aside, get their names."""

PROMOTE = (
    SWITCH
    + """
-- KEYS: current, promoted fence, versions, history. ARGV: version, force, what stands before the names of its lists
-- while they are put aside, the names.
local fence = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not fence then return 'unknown' end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  switch(3)
  return 'live'
end
local highest = tonumber(redis.call('GET', KEYS[2]) or '0')
fence = tonumber(fence)
if ARGV[2] == '0' and fence <= highest then return 'stale' end
if fence > highest then redis.call('SET', KEYS[2], string.format('%d', fence)) end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('LPUSH', KEYS[4], ARGV[1])
redis.call('LTRIM', KEYS[4], 0, 99)
switch(3)
return 'live'
"""
)

ROLL_BACK = (
    SWITCH
    + """
-- KEYS: current, versions, history. ARGV: the version to go to, what stands before its lists' names while they are
-- put aside, the names; '' only asks which it would be.
local live = redis.call('GET', KEYS[1])
local history = redis.call('LRANGE', KEYS[3], 0, -1)
for place, version in ipairs(history) do
  if version ~= live and redis.call('ZSCORE', KEYS[2], version) then
    if ARGV[1] == version then
      redis.call('SET', KEYS[1], version)
      redis.call('LTRIM', KEYS[3], place - 1, -1)
      switch(2)
    end
    return version
  end
end
return ''
"""
)

RETIRE = """
-- KEYS: current, versions, history, open jobs, versions whose files are to go. ARGV: version, prefix of the jobs' keys.
local live = redis.call('GET', KEYS[1])
if live == ARGV[1] then return 0 end
for _, job in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  if redis.call('HGET', ARGV[2] .. job, 'model_version') == ARGV[1] then return 0 end
end
for _, version in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
  if version ~= live and redis.call('ZSCORE', KEYS[2], version) then
    if version == ARGV[1] then return 0 end
    break
  end
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[3], 0, ARGV[1])
redis.call('SADD', KEYS[5], ARGV[1])
return 1
"""

PUBLISH_REVISION = """
-- KEYS: revisions, versions. ARGV: version, the revision that was read, the one that was written.
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 'gone' end
local known = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if known > tonumber(ARGV[2]) then return 'conflict' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 'published'
"""

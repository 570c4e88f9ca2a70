"""What a job does in one step, as Lua. KEYS begin with: job, chunks that are left, open jobs."""

from __future__ import annotations

__all__ = [
    "AGE",
    "BEGIN_CHUNK",
    "CLOSE",
    "CREATE",
    "END",
    "FINISH_CHUNK",
    "FINISH_TRIAL",
    "FINISH_VERDICT",
    "FORGET",
    "STALE",
    "TOUCH",
]

NOW = """
local time = redis.call('TIME')
local now = string.format('%.6f', tonumber(time[1]) + tonumber(time[2]) / 1000000)
"""
"""Times are the server's: those of two hosts cannot be compared."""

CREATE = (
    NOW
    + """
-- KEYS 4: model versions. ARGV: id, number of chunks, model version or '' where none is needed, then fields and values.
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
if ARGV[3] ~= '' and not redis.call('ZSCORE', KEYS[4], ARGV[3]) then return 'gone' end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'state', 'running', 'users_done', 0, 'users_unknown', 0, 'created_at', now)
for place = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
for number = 0, tonumber(ARGV[2]) - 1 do redis.call('SADD', KEYS[2], number) end
if tonumber(ARGV[2]) == 0 then redis.call('HSET', KEYS[1], 'state', 'succeeded') end
redis.call('ZADD', KEYS[3], now, ARGV[1])
return 'new'
"""
)

BEGIN_CHUNK = """
-- ARGV: number, most attempts, the error of too many, the error of chunks that are gone.
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return nil end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then
  -- A job that runs has some left: without any, the server let them go, and it would run for ever.
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('HSET', KEYS[1], 'state', 'failed', 'error', ARGV[4]) end
  return nil
end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempts:' .. ARGV[1], 1)
if attempt > tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'state', 'failed', 'error', ARGV[3])
  return nil
end
local names = {'model_version', 'chunk_size', 'n_rows', 'users:' .. ARGV[1], 'arguments', 'task'}
local known = redis.call('HMGET', KEYS[1], unpack(names))
return {attempt, known[1], known[2], known[3], known[4] or '', known[5], known[6]}
"""

FINISH_CHUNK = (
    NOW
    + """
-- KEYS 4: progress. ARGV: id, number, users done, users unknown, life of the progress.
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'running' then return 0 end
if redis.call('SREM', KEYS[2], ARGV[2]) == 0 then return 0 end
local done = redis.call('HINCRBY', KEYS[1], 'users_done', ARGV[3])
local unknown = redis.call('HINCRBY', KEYS[1], 'users_unknown', ARGV[4])
local total = redis.call('HGET', KEYS[1], 'total')
redis.call('ZADD', KEYS[3], 'XX', now, ARGV[1])
local seen = string.format('%d', done + unknown)
redis.call('HSET', KEYS[4], 'done', seen, 'total', total, 'text', seen .. '/' .. total .. ' users')
redis.call('EXPIRE', KEYS[4], ARGV[5])
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'succeeded')
return 1
"""
)

FINISH_TRIAL = (
    NOW
    + """
-- KEYS 4: progress. ARGV: id, number, life of the progress, its done, total and text, '1' where others may begin.
-- Gives the number of the chunk that is to be sent now: another trial's, or after all of them the verdict's.
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return '' end
if redis.call('SREM', KEYS[2], ARGV[2]) == 0 then return '' end
redis.call('ZADD', KEYS[3], 'XX', now, ARGV[1])
redis.call('HSET', KEYS[4], 'done', ARGV[4], 'total', ARGV[5], 'text', ARGV[6])
redis.call('EXPIRE', KEYS[4], ARGV[3])
local begun, last = tonumber(redis.call('HGET', KEYS[1], 'begun')), redis.call('HGET', KEYS[1], 'last')
local next = ''
if ARGV[7] == '1' and begun < tonumber(last) then
  next = tostring(begun)
  redis.call('HINCRBY', KEYS[1], 'begun', 1)
elseif redis.call('EXISTS', KEYS[2]) == 0 then
  next = last
end
if next ~= '' then redis.call('SADD', KEYS[2], next) end
return next
"""
)

FINISH_VERDICT = """
-- KEYS 4: progress. ARGV: id, number, life of the progress, answer. 1 where it was not known yet.
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
if redis.call('SREM', KEYS[2], ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[4], 'done', 100, 'total', 100, 'text', 'judged')
redis.call('EXPIRE', KEYS[4], ARGV[3])
redis.call('HSET', KEYS[1], 'state', 'succeeded', 'answer', ARGV[4])
return 1
"""

END = """
-- ARGV: id, state, error, life of a mark on a task that is no job (yet).
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'error', ARGV[3])
if not state then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return 1
"""

CLOSE = """
-- ARGV: id, life from now on.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 0
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
return redis.call('HSETNX', KEYS[1], 'closed', 1)
"""

FORGET = """
-- ARGV: id. What is known of a job that is over; 0 where it is not.
if redis.call('ZSCORE', KEYS[3], ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
"""

STALE = NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', tonumber(now) - ARGV[1])"

TOUCH = NOW + "return redis.call('ZADD', KEYS[1], 'XX', now, ARGV[1])"

AGE = NOW + "return string.format('%.6f', tonumber(now) - ARGV[1])"

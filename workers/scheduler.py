"""The scheduler, ``celery -A workers.app beat``: renews everybody's recommendations before they expire, and trains
where asked to.

Its lock and what it did last are in Redis. Of several schedulers one is in charge; another takes over when it is gone,
and a restart neither
repeats nor skips a renewal. Sending is one step with noting it: a script that refuses whoever is no longer in charge,
and writes down what is owed, as producers do; should the message then be lost, the workers' rescue sends it again.
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import timedelta
from typing import Any, NamedTuple

import redis
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule
from kombu.exceptions import OperationalError

from timbral import keys
from timbral.config.settings import Settings, settings
from timbral.errors import SettingsError
from timbral.redis_server.client import connect

__all__ = ["Entry", "RedisScheduler", "entries_of"]

logger = logging.getLogger(__name__)

LOCK_S = 30.0
"""Life of the lock; whoever is in charge renews it at each tick."""
TICK_S = 5.0

# KEYS: lock. ARGV: token, life in ms. 1 for whoever is in charge, be it newly.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS: lock, schedule, submitted, counts of plays. ARGV: token, entry, period in s, task id, task, kwargs as JSON,
# queue, plays after which it is due (0: the period counts), seconds to the next look at these. Seconds until it is due,
# or until the next look; 0 for sent.
_CLAIM = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return ARGV[3] end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
if ARGV[8] ~= '0' then
  local recorded = tonumber(redis.call('HGET', KEYS[4], 'recorded') or 0)
  local before = tonumber(redis.call('HGET', KEYS[2], ARGV[2] .. ':plays') or 0)
  if before <= recorded and recorded - before < tonumber(ARGV[8]) then return ARGV[9] end
  redis.call('HSET', KEYS[2], ARGV[2] .. ':plays', recorded)
end
local last = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or 0)
local wait = last + tonumber(ARGV[3]) - now
if last <= now and wait > 0 then return string.format('%.3f', wait) end
redis.call('HSET', KEYS[2], ARGV[2], string.format('%.6f', now))
local sent = '{"task": ' .. cjson.encode(ARGV[5]) .. ', "kwargs": ' .. ARGV[6] .. ', "queue": ' .. cjson.encode(ARGV[7])
redis.call('HSET', KEYS[3], ARGV[4], sent .. ', "at": ' .. string.format('%.6f', now) .. '}')
return '0'
"""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Entry(NamedTuple):
    """What is sent every ``every_s`` seconds, or after every ``every_plays`` plays recorded."""

    name: str
    task: str
    kwargs: dict[str, Any]
    every_s: int
    every_plays: int = 0


def entries_of(settings: Settings) -> list[Entry]:
    """The schedule that the settings ask for.

    Raises:
        SettingsError: recommendations would expire before they are renewed.
    """
    entries = []
    training: dict[str, Any] = {"warm_start": True}
    if settings.RETRAIN_DATASET is not None:
        training["dataset"] = settings.RETRAIN_DATASET
    if settings.RENEW_EVERY_S:
        if settings.RENEW_EVERY_S >= settings.RECOMMENDATIONS_TTL_S:
            problem = (
                f"RENEW_EVERY_S: must be less than RECOMMENDATIONS_TTL_S={settings.RECOMMENDATIONS_TTL_S}, "
                f"or recommendations expire before they are renewed (got {settings.RENEW_EVERY_S})"
            )
            raise SettingsError([problem])
        entries.append(Entry("renew_recommendations", "compute_recommendations", {}, settings.RENEW_EVERY_S))
    if settings.RETRAIN_EVERY_S:
        entries.append(Entry("retrain", "train_model", training, settings.RETRAIN_EVERY_S))
    if settings.RETRAIN_AFTER_PLAYS:
        entries.append(Entry("retrain_after_plays", "train_model", training, 0, settings.RETRAIN_AFTER_PLAYS))
    if settings.ARCHIVE_EVERY_S:
        entries.append(Entry("archive_plays", "archive_plays", {}, settings.ARCHIVE_EVERY_S))
    return entries


class RedisScheduler(Scheduler):
    """Celery's scheduler with its state in Redis, and the settings for its schedule."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.token = uuid.uuid4().hex
        self.in_charge = False
        self.entries: list[Entry] = []
        self.client = connect(settings.redis_url, timeout_s=5, connect_timeout_s=5)
        self._hold = self.client.register_script(_HOLD)
        self._claim = self.client.register_script(_CLAIM)
        super().__init__(*args, **options)

    def setup_schedule(self) -> None:
        self.entries = entries_of(settings)
        self.schedule = {
            entry.name: ScheduleEntry(
                name=entry.name,
                task=entry.task,
                kwargs=entry.kwargs,
                schedule=schedule(timedelta(seconds=entry.every_s), app=self.app),
                app=self.app,
            )
            for entry in self.entries
        }

    def tick(self, *args: Any, **options: Any) -> float:  # noqa: ARG002 - Celery's signature
        """Send what is due, if this scheduler is in charge; seconds until the next look."""
        try:
            in_charge = bool(self._hold(keys=[keys.SCHEDULE_LOCK], args=[self.token, int(LOCK_S * 1000)]))
            if in_charge != self.in_charge:
                logger.info("This scheduler is %s in charge", "now" if in_charge else "not")
                self.in_charge = in_charge
            waits = [self._send_if_due(entry) for entry in self.entries] if in_charge else []
        except (redis.RedisError, OperationalError) as error:
            logger.warning("Redis is not available, retrying: %s", error)
            return 1.0
        return min([TICK_S, *waits])

    def _send_if_due(self, entry: Entry) -> float:
        """Seconds until the entry is due (again)."""
        if entry.task == "compute_recommendations" and not self.client.exists(keys.MODEL_CURRENT):
            return TICK_S  # nothing to recommend with yet
        if entry.task == "archive_plays" and not self.client.exists(keys.PLAYS_STREAM):
            return TICK_S  # nothing was recorded yet
        task_id = f"{entry.name}-{uuid.uuid4()}"
        queue = self.app.conf.task_routes.get(entry.task, {}).get("queue", self.app.conf.task_default_queue)
        arguments = [
            self.token, entry.name, entry.every_s, task_id, entry.task, json.dumps(entry.kwargs), queue,
            entry.every_plays, TICK_S,
        ]  # fmt: skip
        known = [keys.SCHEDULE_LOCK, keys.SCHEDULE, keys.SUBMITTED, keys.PLAYS_COUNTS]
        wait_s = float(self._claim(keys=known, args=arguments))
        if wait_s > 0:
            return wait_s
        # Should this fail, the record that the script has written makes the rescue send it.
        self.app.send_task(
            entry.task, kwargs=entry.kwargs, task_id=task_id, queue=queue, headers={"celery_beat_task": True}
        )
        logger.info("Sent %s as %s", entry.name, task_id)
        return float(entry.every_s) or TICK_S

    def close(self) -> None:
        try:
            self.client.eval(_RELEASE, 1, keys.SCHEDULE_LOCK, self.token)
        except redis.RedisError as error:
            logger.debug("The lock stays for %g s: %s", LOCK_S, error)
        super().close()

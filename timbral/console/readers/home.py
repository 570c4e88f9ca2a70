"""What the first screen shows: what is live, what runs, and what needs attention."""

from __future__ import annotations

from typing import Any, NamedTuple

from producers.connections import connections
from timbral import keys
from timbral.api.metrics import lists_handed_out
from timbral.console.readers.jobs import OpenJobs, read_open
from timbral.console.readers.models import complete, read_version
from timbral.errors import ModelNotFoundError
from timbral.queue import ended_jobs
from timbral.queue.fleet_state import FleetState, read_fleet_state
from timbral.redis_server.replies import server_now_s

__all__ = ["Home", "Need", "read_home"]

STALE_AFTER_S = 7 * 86_400
DEEP_QUEUE = 1_000
SHOWN_JOBS = 8
_FAILED_LOOKED_AT = 50
_FAILED_WITHIN_S = 86_400


class Need(NamedTuple):
    """Something that needs a person: what, and where to do something about it."""

    what: str
    why: str
    button: str
    where: str


class Home(NamedTuple):
    """The first screen."""

    state: FleetState
    record: dict[str, Any]
    jobs: OpenJobs
    needs: list[Need]
    lists: dict[str, int]
    n_versions: int
    n_named: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever trained."""
        return self.state.model is None

    @property
    def cache_share(self) -> float | None:
        """Share of the lists handed out that were made for their user."""
        total = sum(self.lists.values())
        return self.lists.get("cache", 0) / total if total else None


def read_home() -> Home:
    """Read it, in a few round trips."""
    reached = connections()
    with reached.asking(results=True) as queue, reached.asking() as cache:
        state = read_fleet_state(queue, cache)
        with cache.pipeline(transaction=False) as pipe:
            pipe.zcard(keys.MODEL_VERSIONS)
            pipe.hlen(keys.ITEMS_NAMES)
            n_versions, n_named = pipe.execute()
        ended = ended_jobs.list_ended(queue, _FAILED_LOOKED_AT)
        now = server_now_s(queue)
        record = complete({})
        if state.model is not None:
            try:
                record = read_version(cache, state.model.version)
            except ModelNotFoundError:  # it is live, and its record is gone
                record = complete({"version": state.model.version})
    failed = sum(one.state == "FAILURE" and now - one.ended_at < _FAILED_WITHIN_S for one in ended)
    return Home(state, record, read_open(SHOWN_JOBS), _needs(state, failed), lists_handed_out(), n_versions, n_named)


def _needs(state: FleetState, failed: int) -> list[Need]:
    needs = [
        Need(f"{name} needs somebody", f"{problem[:1].upper()}{problem[1:]}.", "Look at the fleet", "/console/fleet")
        for name, limits in state.servers.items()
        if not limits.is_silent
        for problem in limits.problems()
    ]
    waiting = sum(state.waiting.values())
    if not state.workers:
        why = f"{waiting:,} messages wait." if waiting else "Nothing that is sent will be done."
        needs.append(Need("No worker takes tasks", why, "Look at the fleet", "/console/fleet"))
    elif waiting > DEEP_QUEUE:
        needs.append(
            Need(f"{waiting:,} messages wait", "More workers would help.", "Look at the fleet", "/console/fleet")
        )
    if state.dead_letters:
        what = f"{state.dead_letters:,} dead letter{'' if state.dead_letters == 1 else 's'}"
        why = "Messages that nobody works on until you say so."
        needs.append(Need(what, why, "Send again or delete", "/console/dead-letters"))
    if failed:
        what = f"{failed} job{'' if failed == 1 else 's'} failed in the last day"
        needs.append(
            Need(
                what, "Each says why; those that name no user can be sent again.", "Look at them", "/console/jobs#ended"
            )
        )
    model = state.model
    if model is not None and model.age_s is not None and model.age_s > STALE_AFTER_S:
        days = int(model.age_s // 86_400)
        why = f"{state.users_with_new_plays:,} users have played something since."
        needs.append(Need(f"The model is {days} days old", why, "Train", "/console/jobs#train"))
    return needs

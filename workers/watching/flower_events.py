"""What Flower takes in of the workers' events: a renewal's thousand chunks and a refresh for each play would push
trainings out of its list.

Chunks are told of by the progress of their job, plays by their users' lists; of these Flower learns only when something
went wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Folding", "install"]

Event = dict[str, Any]

BEGINNINGS: Final = frozenset({"task-sent", "task-received"})
TROUBLE: Final = frozenset({"task-failed", "task-retried", "task-rejected", "task-revoked"})
MAX_FOLDED: Final = 20_000


class Folding:
    """Hands events on, but for those of small tasks that go well.

    Args:
        hand_on: takes an event.
    """

    def __init__(self, hand_on: Callable[[Event], None]) -> None:
        self._hand_on = hand_on
        self._folded: OrderedDict[str, list[Event]] = OrderedDict()

    def event(self, event: Event) -> None:
        """Take one event of the workers."""
        kind, task_id = event["type"], event.get("uuid", "")
        if kind in BEGINNINGS and _is_small(event):
            self._folded.setdefault(task_id, []).append(event)
            if len(self._folded) > MAX_FOLDED:
                self._folded.popitem(last=False)
        elif task_id not in self._folded:
            self._hand_on(event)
        elif kind in TROUBLE:
            for earlier in [*self._folded.pop(task_id), event]:
                self._hand_on(earlier)
        elif kind == "task-succeeded":
            del self._folded[task_id]


def _is_small(event: Event) -> bool:
    name = event.get("name")
    return name in ("compute_chunk", "train_block") or (
        name == "refresh_embeddings" and "'plays'" in str(event.get("kwargs"))
    )


def install() -> None:
    """Have Flower's state fold; Flower has no setting for it."""
    from flower.events import EventsState

    take = EventsState.event
    foldings: dict[int, Folding] = {}

    def event(state: Any, event: Event) -> None:
        folding = foldings.get(id(state))
        if folding is None:
            folding = foldings[id(state)] = Folding(lambda handed: take(state, handed))
        folding.event(event)

    EventsState.event = event

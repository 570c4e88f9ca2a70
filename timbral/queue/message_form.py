"""MessageForm: a task's message as it lies on its queue, made once and filled in for each sending."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from timbral.queue.layout import id_in_json

__all__ = ["MessageForm"]


@dataclass(frozen=True)
class MessageForm:
    """For whoever puts a message on its queue in one step with something else, inside a script.

    Attributes:
        queue_key: the list that it waits in.
        text: a message that was never sent, as JSON.
        task_id, delivery_tag: those in ``text``; each found nowhere else in it.
    """

    queue_key: str
    text: str
    task_id: str
    delivery_tag: str

    def filled_in(self, task_id: str) -> str:
        """The message of another task, with a delivery tag of its own."""
        return self.text.replace(self.task_id, id_in_json(task_id)).replace(self.delivery_tag, str(uuid.uuid4()))

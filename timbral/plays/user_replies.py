"""What Redis replies of some users' plays and blocks, before it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from timbral.messages import Id

__all__ = ["UserReplies"]


class UserReplies(NamedTuple):
    """``listed``, ``plays`` and ``blocks`` have a reply for each of ``user_ids``, or none at all where nobody has any.

    Attributes:
        salt: of the forgotten users.
        blocked_items: what nobody must get.
        listed: the newest play that a user's list knows of.
    """

    user_ids: Sequence[Id]
    salt: Any
    blocked_items: Sequence[Any]
    listed: Sequence[Any]
    plays: Sequence[Any]
    blocks: Sequence[Any]

"""Names of items, and ids as the live model has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from producers.connections import connections
from timbral import keys
from timbral.console.readers.models import read_version
from timbral.errors import ModelNotFoundError
from timbral.messages import Id
from timbral.redis_server.replies import text

__all__ = ["live_record", "names_of", "typed_item", "typed_user"]

_INT: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
MAX_NAME_CHARACTERS: Final = 500


def names_of(item_ids: Iterable[Id]) -> dict[Id, str]:
    """Names by id; an item without one is not in it."""
    wanted = list(dict.fromkeys(item_ids))
    if not wanted:
        return {}
    with connections().asking() as client:
        found: Any = client.hmget(keys.ITEMS_NAMES, [keys.encode_id(one) for one in wanted])
    return {
        one: raw.decode("utf-8", "replace")[:MAX_NAME_CHARACTERS]
        for one, raw in zip(wanted, found, strict=True)
        if raw is not None
    }


def typed_user(given: str, record: dict[str, Any]) -> Id:
    """A user's id from a form: an int where the live model's are, or where nobody knows and it looks like one."""
    return _typed(given, record.get("user_id_kind"))


def typed_item(given: str, record: dict[str, Any]) -> Id:
    """The same of an item."""
    return _typed(given, record.get("item_id_kind"))


def _typed(given: str, kind: Any) -> Id:
    return int(given) if kind != "str" and _INT.fullmatch(given) else given


def live_record() -> dict[str, Any]:
    """The record of the live version; empty where there is none."""
    with connections().asking() as client:
        version = text(client.get(keys.MODEL_CURRENT))
        try:
            return read_version(client, version) if version else {}
        except ModelNotFoundError:
            return {}

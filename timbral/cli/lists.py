"""Lists of items on a terminal: those in the cache, and those that a version would give."""

from __future__ import annotations

from typing import Any

from producers.connections import connections
from timbral import keys
from timbral.cli.output import hint, print_json, print_table
from timbral.config.settings import settings
from timbral.extras import require
from timbral.messages import Id

__all__ = ["preview", "print_list"]


def print_list(listed: list[dict[str, Any]], title: str | None = None) -> None:
    """One list as a table, with the items' names where the app has given some."""
    names = _names([item["item_id"] for item in listed])
    rows = [
        [place, item["item_id"], *([names.get(item["item_id"], "")] if names else []), item.get("score")]
        for place, item in enumerate(listed, start=1)
    ]
    print_table(["#", "item_id", *(["name"] if names else []), "score"], rows, title)


def preview(version: str, user_ids: list[Id], *, top_k: int, exclude_seen: bool, as_json: bool, **options: Any) -> None:
    """Print what ``version`` would recommend; nothing is written, and no worker is asked.

    Raises:
        ParameterError: what reads models is not installed.
        ModelNotFoundError: no such version.
    """
    require("timbral recommend --model", "worker")
    from timbral.logic.list_preview import ListPreview
    from timbral.versions.model_store import ModelStore

    with connections().asking() as client:
        served = ModelStore(client, settings.MODEL_DIR).get(version)
        lists = ListPreview(client, served, top_k=top_k, exclude_seen=exclude_seen, **options).lists(user_ids)
    if as_json:
        print_json(
            {"model_version": version, "lists": [{"user_id": user, "items": items} for user, items in lists.items()]}
        )
        return
    for user, items in lists.items():
        print_list(items, f"user {user}, by {version}")
    for user in user_ids:
        if user not in lists:
            hint(f"timbral: {version} does not know user {user!r}")


def _names(item_ids: list[Any]) -> dict[Any, str]:
    if not item_ids:
        return {}
    with connections().asking() as client:
        found: Any = client.hmget(keys.ITEMS_NAMES, [keys.encode_id(item_id) for item_id in item_ids])
    return {
        item_id: name.decode(errors="replace")
        for item_id, name in zip(item_ids, found, strict=True)
        if name is not None
    }

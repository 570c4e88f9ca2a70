"""An item set as a screen shows it, and as a form gives it back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import producers
from timbral.api.refusals import Refused
from timbral.console.readers.names import live_record, typed_item
from timbral.errors import ParameterError
from timbral.messages import MAX_IDS, SET_NAME, Id

__all__ = ["SHOWN", "Shown", "checked_name", "items_in", "set_named", "shown"]

SHOWN: Final = 500
"""Items of a set that a page lists, and that a form can give back."""


class Shown(NamedTuple):
    """Some ``items`` of a set, sorted, and the ``problem`` in words where they cannot be read.

    ``form`` is all of them as a form has them, an id a line; None where a form cannot: they are too many, or their ids
    would not come back as they are. ``are_text`` is whether the ids are text, also those that look like numbers.
    """

    items: list[Id]
    form: str | None
    are_text: bool
    problem: str = ""


def set_named(name: str) -> producers.ItemSet:
    """The set of this name.

    Raises:
        Refused: 404, there is none.
    """
    for one in producers.list_item_sets():
        if one.name == name:
            return one
    raise Refused(404, f"There is no item set {name!r}")


def shown(one: producers.ItemSet) -> Shown:
    """What a page shows of a set."""
    record = live_record()
    kind_is_text = record.get("item_id_kind") == "str"
    try:
        found = producers.get_item_set(one.name, SHOWN)
    except ParameterError as error:
        return Shown([], None, kind_is_text, str(error))
    items = sorted(found, key=lambda item: (isinstance(item, str), item))
    are_text = all(isinstance(item, str) for item in items) if items else kind_is_text
    text = "\n".join(map(str, items))
    try:
        comes_back = len(items) == one.n_items and items_in(text, are_text=are_text, record=record) == items
    except Refused:
        comes_back = not items
    return Shown(items, text if comes_back else None, are_text)


def items_in(text: str, *, are_text: bool, record: dict[str, Any]) -> Sequence[Id]:
    """The ids in a form's text, one a line, each once.

    Args:
        are_text: also those that look like numbers; else as the live model's are.
        record: of the live version.

    Raises:
        Refused: 422, there are none, or more than a form may have.
    """
    lines = list(dict.fromkeys(line for line in map(str.strip, re.split(r"\r\n|\r|\n", text)) if line))
    if not lines:
        raise Refused(422, "Say which items are in the set, an id a line")
    if len(lines) > MAX_IDS:
        raise Refused(
            422, f"{len(lines):,} items are too many for a form ({MAX_IDS:,}): timbral sets put NAME --file FILE"
        )
    return lines if are_text else [typed_item(line, record) for line in lines]


def checked_name(name: str) -> str:
    """A name that a set may have.

    Raises:
        Refused: 422.
    """
    if not re.fullmatch(SET_NAME, name):
        raise Refused(
            422,
            "The name of an item set has 1 to 64 letters, digits, “.”, “_” or “-”, and begins with a letter or a digit",
        )
    return name

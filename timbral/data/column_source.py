"""Where a user, an item, a value or a time is read from: one column, several joined, or the first of several that is
there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from timbral.data.id_types import is_text

__all__ = ["JOINED_BY", "ColumnSource"]

JOINED_BY: Final = " – "


@dataclass(frozen=True)
class ColumnSource:
    """Attributes:
    text: as it was asked for, and as error messages call it: "user_id", "track.id" (a field of a field),
        "artist + track" (joined by a dash), "track_id | artist + track" (the first that is there, row by row).
    choices: the alternatives, each a tuple of columns to join.
    constant: what every row has where none of the columns is there.
    """

    text: str
    choices: tuple[tuple[str, ...], ...]
    constant: str | None = None

    @classmethod
    def of(cls, text: str, is_there: Callable[[str], bool]) -> ColumnSource | None:
        """The source that ``text`` means in a file where the columns that ``is_there`` says are; None where it has
        none."""
        if is_there(text):
            return cls(text, ((text,),))
        wanted = [tuple(part.strip() for part in choice.split(" + ")) for choice in text.split(" | ")]
        constant = next((c[0].strip("'") for c in wanted if len(c) == 1 and c[0][:1] == c[0][-1:] == "'"), None)
        choices = tuple(choice for choice in wanted if all(is_there(part) for part in choice))
        return cls(text, choices, constant) if choices or constant is not None else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is needed."""
        return tuple(dict.fromkeys(part for choice in self.choices for part in choice))

    @property
    def is_one_column(self) -> bool:
        return len(self.choices) == 1 and len(self.choices[0]) == 1 and self.constant is None

    def of_batch(self, batch: pa.RecordBatch) -> pa.Array:
        """The column of ``batch``, null where nothing is there."""
        if self.is_one_column:
            return batch[self.choices[0][0]]
        found = [_joined([batch[part] for part in choice]) for choice in self.choices]
        if self.constant is not None:
            found.append(pa.repeat(pa.scalar(self.constant, pa.large_string()), len(batch)))
        return pc.coalesce(*found)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


def _joined(parts: list[pa.Array]) -> pa.Array:
    texts = [_filled_text(part) for part in parts]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, pa.scalar(JOINED_BY, pa.large_string()))


def _filled_text(array: pa.Array) -> pa.Array:
    """``array`` as text, null where it is empty."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    text = array.cast(pa.large_string()) if not is_text(array.type) or array.type != pa.large_string() else array
    return pc.if_else(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(text)), 0), None, text)

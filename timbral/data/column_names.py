"""Which columns of a data set are read, and as what."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from timbral.errors import DataError, MissingColumnsError

__all__ = ["DEFAULT_VALUE_COL", "ColumnNames"]

logger = logging.getLogger(__name__)

DEFAULT_VALUE_COL = "rating"
OTHER_SEPARATORS = {"\t": "a tab", ";": "';'", ",": "','", "|": "'|'", " ": "a space"}


@dataclass(frozen=True)
class ColumnNames:
    """The columns of users, items, values and times. ``value`` None: each row counts 1; ``time`` None: no times."""

    user: str = "user_id"
    item: str = "item_id"
    value: str | None = DEFAULT_VALUE_COL
    time: str | None = None

    def found_in(self, header: Sequence[str], filepath: str) -> ColumnNames:
        """The columns to read, given those that there are.

        The value column may be missing where its name was left at the default: each row then counts 1.

        Raises:
            MissingColumnsError: a column is missing; names just those.
            DataError: a column is there twice, or the header looks split by a wrong separator.
        """
        required = [self.user, self.item, self.time]
        if self.value != DEFAULT_VALUE_COL:
            required.append(self.value)
        missing = [name for name in required if name is not None and name not in header]
        if missing:
            if len(header) == 1 and isinstance(header[0], str):
                for separator, called in OTHER_SEPARATORS.items():
                    if (
                        set(missing) & {part.strip('"') for part in header[0].split(separator)}
                        and separator in header[0]
                    ):
                        text = f"the header has one column {header[0]!r}; is the separator {called}?"
                        raise DataError(text, filepath)
            raise MissingColumnsError(missing, filepath, list(header)[:50])
        twice = [
            name for name in (self.user, self.item, self.value, self.time) if name and list(header).count(name) > 1
        ]
        if twice:
            raise DataError(f"column {twice[0]!r} is there twice", filepath)
        if self.value is not None and self.value not in header:
            logger.info(
                "%s has no column %r: each row counts 1 (its columns: %s)", filepath, self.value, list(header)[:50]
            )
            return ColumnNames(self.user, self.item, None, self.time)
        return self

    def listed(self) -> list[str]:
        """The names, without the Nones."""
        return [name for name in (self.user, self.item, self.value, self.time) if name is not None]

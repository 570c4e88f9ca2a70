"""Which columns of a data set are read, and as what."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from timbral.data.column_source import ColumnSource
from timbral.data.column_words import item_column, user_column, value_column, words_of
from timbral.data.places import shown
from timbral.data.read_options import DEFAULT_VALUE_COL, ReadOptions
from timbral.errors import DataError, MissingColumnsError

__all__ = ["FoundColumns", "found_columns", "is_item_line", "item_lines", "looks_like_data"]

OTHER_SEPARATORS: Final = {"\t": "a tab", ";": "';'", ",": "','", "|": "'|'", " ": "a space"}
DATA: Final = r"[+-]?\d+([.,]\d+)?|[0-9a-f]{40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\d.*|.*\d:[0-5]\d(:[0-5]\d)?.*|user_\d+"


@dataclass(frozen=True)
class FoundColumns:
    """Where users, items, values and times are read from. ``value`` None: each row counts 1; ``time`` None: no
    times."""

    user: ColumnSource
    item: ColumnSource
    value: ColumnSource | None = None
    time: ColumnSource | None = None

    @property
    def columns(self) -> list[str]:
        """Every column that is needed, once."""
        sources = [source for source in (self.user, self.item, self.value, self.time) if source is not None]
        return list(dict.fromkeys(column for source in sources for column in source.columns))

    def texts(self) -> tuple[str | None, ...]:
        """What the four are called."""
        return tuple(None if s is None else s.text for s in (self.user, self.item, self.value, self.time))


def found_columns(
    options: ReadOptions, header: Sequence[str], filepath: str, is_there: Callable[[str], bool] | None = None
) -> FoundColumns:
    """The columns that ``options`` ask for, in a file that has those of ``header``.

    A user's or item's column that was not named is told by its name. Where there is no "rating" and no other name was
    given, an unmistakable column of plays or ratings is taken; where there is none of these, each row counts 1.

    Args:
        options: what was asked for.
        header: the file's columns.
        filepath: for error messages.
        is_there: whether a column is there, a field of a field too; by ``header`` where None.

    Raises:
        MissingColumnsError: a column is missing; names just those.
        DataError: a column is there twice, could be one of two, or the header looks split by a wrong separator.
    """
    there = is_there or header.__contains__
    try:
        user_col = options.user_col or _exact(header, "user_id") or user_column(header)
        taken = [name for name in (user_col, options.item_col, options.time_col) if name]
        item_col = options.item_col or _exact(header, "item_id") or item_column(header, taken)
        value_col = options.value_col
        if value_col == DEFAULT_VALUE_COL and not there(value_col):
            value_col = value_column(header, [name for name in (*taken, item_col) if name])
    except DataError as error:
        raise DataError(error.args[0], filepath) from None
    for told, named in ((user_col, options.user_col), (item_col, options.item_col)):
        if told and not named and any(word.isdigit() for word in words_of(told)):  # "user 7", "item-12": no names
            raise _no_header(header, filepath)
    user = ColumnSource.of(user_col, there) if user_col else None
    item = ColumnSource.of(item_col, there) if item_col else None
    value = ColumnSource.of(value_col, there) if value_col else None
    time_col = options.time_col
    if time_col is None and options.named_preset is not None:
        time_col = options.named_preset.time
    time = ColumnSource.of(time_col, there) if time_col else None
    missing = [
        name
        for name, source in (
            (user_col or "user_id", user),
            (item_col or "item_id", item),
            (options.time_col, time),
            (value_col, value),
        )
        if name is not None and source is None
    ]
    if missing or user is None or item is None:
        raise _missing(missing, header, filepath, lacks_user_alone=not (options.user_col or user) and item is not None)
    found = FoundColumns(user, item, value, time)
    said = (options.user_col, options.item_col, options.value_col, options.time_col)
    if any(_in_quotes(name) and name not in said for name in found.columns):
        raise _quoted_names(header, filepath)
    if user.text == item.text or (value is not None and value.text in (user.text, item.text)):
        same = "the users and the items" if user.text == item.text else "ids and the plays or ratings"
        raise DataError(f"column {(value or user).text!r} cannot be {same} at once", filepath)
    twice = next((name for name in found.columns if list(header).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"column {twice!r} is there twice", filepath)
    return found


def _in_quotes(name: str) -> bool:
    return len(name) > 2 and name[0] == name[-1] == '"'


def _quoted_names(header: Sequence[str], filepath: str) -> DataError:
    text = f"the names in its header are in quotes, {list(header)[:5]}: say quoted=True (--quoted)"
    return DataError(text, filepath)


def looks_like_data(row: Sequence[str]) -> bool:
    """Whether a first row is none of names."""
    return any(re.fullmatch(DATA, cell.strip()) for cell in row)


def is_item_line(row: Sequence[str]) -> bool:
    """Whether a first row is an item's line of the Netflix prize, ``1:``."""
    return len(row) == 1 and re.fullmatch(r"\d+:", row[0].strip()) is not None


def item_lines(line: str, filepath: str) -> DataError:
    """The error for a file in which items stand above their users."""
    return DataError(
        f"has lines of items, {line!r}, above those of their users: write the item into each row", filepath
    )


def _exact(header: Sequence[str], name: str) -> str | None:
    return name if name in header else None


def _no_header(header: Sequence[str], filepath: str) -> DataError:
    first = [str(name) for name in header][:8]
    text = (
        f"has no header? Its first row is {first}: name its columns, as columns=['user_id', 'item_id', …] (--columns); "
        "where it is one, say which are which with user_col and item_col (--user-col, --item-col)"
    )
    return DataError(text, filepath)


def _missing(missing: list[str], header: Sequence[str], filepath: str, *, lacks_user_alone: bool) -> DataError:
    names = [str(name) for name in header]
    if len(names) == 1:
        for separator, called in OTHER_SEPARATORS.items():
            if separator in names[0] and set(missing) & {part.strip('"') for part in names[0].split(separator)}:
                return DataError(f"the header has one column {names[0]!r}; is the separator {called}?", filepath)
    if set(missing) & {name.strip('"') for name in names if _in_quotes(name)}:
        return _quoted_names(names, filepath)
    if is_item_line(names):
        return item_lines(names[0], filepath)
    if names[:1] and names[0].startswith("#"):
        return DataError(f"begins with a comment, {shown(' '.join(names))}: remove it", filepath)
    if looks_like_data(names):
        return _no_header(names, filepath)
    one_user = ["where all rows are of one user, give them a name: user_col=\"'me'\" (--user-col \"'me'\")"]
    return MissingColumnsError(missing, filepath, names[:50], *(one_user if lacks_user_alone else []))

"""Which column is the users', the items', the plays', told by its name: by whole words, never by a part of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from shlex import quote
from typing import Final

from timbral.errors import DataError

__all__ = [
    "are_names",
    "is_value",
    "item_column",
    "name_columns",
    "time_column",
    "user_column",
    "value_column",
    "words_of",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


USERS: Final = _words(
    "user users userid username customer customers member members listener listeners account subscriber profile "
    "reviewer rater reader visitor visitorid uid session"
)
ITEMS: Final = _words(
    "item items itemid artist artists artistid track tracks trackid song songs songid recording movie movies movieid "
    "film "
    "album albums book books product products game games article show podcast video videos isbn asin iid sid mid "
    "anime manga business venue venueid restaurant recipe"
)
IDS: Final = _words("id ids uuid guid key mbid gid uri urn sha1 mboxsha1 hash code no nr isbn asin")
WHOLE_IDS: Final = _words("userid visitorid itemid artistid trackid songid movieid venueid uid iid sid mid isbn asin")
NAMES: Final = _words("name names username title label nick nickname")
DESCRIBES: Final = _words(
    "age sex gender category country city zip language lang occupation type kind group agent time date timestamp at url link "
    "image "
    "genre genres year lat lon latitude longitude email count counts rank position index score rating ratings weight "
    "plays playcount tag tags duration length"
)
"""Words that make a column something about a user or an item, not the user or the item."""

COUNTED: Final = _words("n num number nb no of total sum user item song track artist album movie book star my")
VALUES: Final = _words(
    "rating ratings play plays playcount playcounts count counts listen listens listencount scrobble scrobbles "
    "weight weights "
    "score scores stars star quantity qty frequency freq views clicks purchases streams spins preference strength "
    "affinity"
)
WHOLE_VALUES: Final = _words("overall cnt interactions timesplayed liked isliked clicked isclicked")
SINGULAR: Final = _words("play listen scrobble star view click stream")
"""Values only together with another word: ``play_count``, ``n_play``; a column ``play`` may be anything."""
TIMES: Final = _words(
    "at time timestamp ts date datetime unixtime utctime playedat listenedat scrobbledat streamedat eventtime "
    "eventtimestamp playtimestamp listentimestamp"
)
"""Moments, by the whole name with its words joined: a part of one (``ms_played``, ``time zone``) may be anything."""
OF_OTHER_THINGS: Final = _words("user item song track artist album movie book")


def words_of(column: str) -> list[str]:
    """``userID`` → user, id; ``play_count`` → play, count; ``Track Name (s)`` → track, name, s."""
    column = re.sub(r":(token|float)(_seq)?$", "", column)  # RecBole's files have a column's type behind its name
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", column)
    return re.findall(r"[a-z0-9]+", spaced.lower())


def user_column(header: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """The users' column: an id before a name.

    Raises:
        DataError: two could be it; names them and the option.
    """
    return _entity(header, USERS, "user", taken)


def item_column(header: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """The items' column: an id before a name.

    Raises:
        DataError: two could be it; names them and the option.
    """
    return _entity(header, ITEMS, "item", taken)


def value_column(header: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """The column that is unmistakably one of plays or ratings, whatever it is called.

    Raises:
        DataError: two could be it; names them and the option.
    """
    found = [column for column in header if column not in taken and is_value(column)]
    if len(found) > 1:
        plain = [column for column in found if len(words_of(column)) == 1]
        found = plain if len(plain) == 1 else found
    if len(found) > 1:
        raise DataError(
            f"columns {found[0]!r} and {found[1]!r} could both be the plays or ratings: say which with value_col, or "
            f"value_col=None for 1 a row (on the command line --value-col {quote(found[0])}, --count-rows)"
        )
    return found[0] if found else None


def time_column(header: Sequence[str], taken: Sequence[str] = ()) -> str | None:
    """The column that is unmistakably one of moments.

    Raises:
        DataError: two could be it; names them and the option.
    """
    found = [column for column in header if column not in taken and "".join(words_of(column)) in TIMES]
    if len(found) > 1:
        raise DataError(
            f"columns {found[0]!r} and {found[1]!r} could both be the times: say which with time_col (on the command "
            f"line --time-col {quote(found[0])})"
        )
    return found[0] if found else None


def name_columns(header: Sequence[str]) -> tuple[str | None, str | None]:
    """The id's and the name's column in a table of items."""
    words = {column: words_of(column) for column in header}
    ids = [c for c in header if words[c] in (["id"], ["key"]) or _rank(words[c], ITEMS, "item") in (0, 1)]
    ids = ids or [c for c in header if set(words[c]) & IDS]
    names = [c for c in header if set(words[c]) & NAMES and c not in ids[:1]]
    named_items = [c for c in names if not set(words[c]) & USERS]
    names = named_items or [c for c in header if set(words[c]) & ITEMS and c not in ids[:1]]
    return (ids[0] if ids else None), (names[0] if names else None)


def are_names(row: Sequence[str]) -> bool:
    """Whether a row is a header: what only a column is called is in it for users and for items, ``User ID`` or
    ``artist``; a song may well be called ``My User``."""
    ranks = [
        [_rank(words_of(cell), entities, called) for cell in row]
        for entities, called in ((USERS, "user"), (ITEMS, "item"))
    ]
    return all(any(rank is not None and rank <= 2 for rank in of_cells) for of_cells in ranks)


def _entity(header: Sequence[str], entities: frozenset[str], called: str, taken: Sequence[str]) -> str | None:
    best: dict[int, list[str]] = {}
    for column in header:
        rank = None if column in taken or is_value(column) else _rank(words_of(column), entities, called)
        if rank is not None:
            best.setdefault(rank, []).append(column)
    if not best:
        return None
    found = best[min(best)]
    if len(found) > 1:
        raise DataError(
            f"columns {found[0]!r} and {found[1]!r} could both be the {called}s: say which with {called}_col "
            f"(on the command line --{called}-col {quote(found[0])})"
        )
    return found[0]


def _rank(words: list[str], entities: frozenset[str], called: str) -> int | None:
    """0 for ``user_id``, 1 for another id (``artist_mbid``), 2 for the thing alone (``artist``), 3 for its name."""
    there = set(words)
    if not there & entities or there & DESCRIBES:
        return None
    has_id = bool(there & IDS or there & WHOLE_IDS)
    if has_id and words in ([called, "id"], [f"{called}id"]):
        return 0
    if has_id:
        return 1
    if there & NAMES:
        return 3
    return 2 if len(words) == 1 else 4


def is_value(column: str) -> bool:
    """Whether a column is by its name unmistakably one of plays or ratings."""
    words = words_of(column)
    if "".join(words) in WHOLE_VALUES:
        return True
    if not words or words[-1] not in VALUES or not set(words) <= VALUES | COUNTED:
        return False
    if len(words) == 1:
        return words[0] not in SINGULAR
    # ``track_count`` is how many tracks an album has; ``track_play_count`` and ``track_plays`` are plays.
    if words[-1] in ("count", "counts"):
        return not set(words[:-1]) <= OF_OTHER_THINGS
    return True

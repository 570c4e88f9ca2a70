"""What ``timbral train`` and ``timbral demo`` may be told about a data set."""

from __future__ import annotations

from typing import Annotated, Final

import typer

__all__ = [
    "PANEL",
    "SEPARATORS",
    "Columns",
    "CountRows",
    "Decimal",
    "Encoding",
    "Format",
    "ItemCol",
    "OnMissing",
    "PresetOption",
    "Quoted",
    "Repeats",
    "Separator",
    "TimeCol",
    "TimeFormat",
    "UserCol",
    "ValueCol",
    "column_list",
    "separator_meant",
]

PANEL: Final = "The data set"
SEPARATORS: Final = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}

Format = Annotated[
    str | None,
    typer.Option(help="csv, parquet or json; by its ending or content if not given.", rich_help_panel=PANEL),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="A known form: lastfm-360k, lastfm-1k, msd, movielens-100k, movielens-1m, listenbrainz, spotify-extended, "
        "spotify-account; found by itself where the file tells.",
        rich_help_panel=PANEL,
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        help=r"Column separator of a csv file, such as ';' or '::'; '\t' or tab for a tab. Told from its first lines "
        r"where "
        "not given.",
        rich_help_panel=PANEL,
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Names of a csv file's columns where it has no header: user_id,artist,plays.", rich_help_panel=PANEL
    ),
]
Quoted = Annotated[
    bool | None,
    typer.Option(
        "--quoted/--no-quoted",
        help="Whether quotes in a csv file are around fields; yes, but not if a tab separates them.",
        rich_help_panel=PANEL,
    ),
]
Encoding = Annotated[str, typer.Option(help="Of a csv file: utf-8, latin-1, utf-16, ….", rich_help_panel=PANEL)]
Decimal = Annotated[str, typer.Option(help="Decimal mark of values that are text, '.' or ','.", rich_help_panel=PANEL)]
UserCol = Annotated[
    str | None,
    typer.Option(help="Column of the users' ids; told by its name if not given.", rich_help_panel=PANEL),
]
ItemCol = Annotated[
    str | None,
    typer.Option(help="Column of the items' ids; told by its name if not given.", rich_help_panel=PANEL),
]
ValueCol = Annotated[
    str,
    typer.Option(
        help="Column of the plays or ratings; one that is unmistakably it (plays, count, …) where there is no rating.",
        rich_help_panel=PANEL,
    ),
]
CountRows = Annotated[
    bool, typer.Option("--count-rows", help="Each row counts 1, whatever its columns.", rich_help_panel=PANEL)
]
TimeCol = Annotated[
    str | None,
    typer.Option(help="Column of the time: the newest rows are held out, not random ones.", rich_help_panel=PANEL),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(help="How times are written, in strptime's letters: '%d %b %Y %H:%M'.", rich_help_panel=PANEL),
]
OnMissing = Annotated[
    str | None,
    typer.Option(help="refuse rows without an id, a value or a time, or drop and count them.", rich_help_panel=PANEL),
]
Repeats = Annotated[
    str,
    typer.Option(help="What becomes of rows of the same user and item: sum, last, max or mean.", rich_help_panel=PANEL),
]


def separator_meant(text: str | None) -> str | None:
    """The separator that ``text`` stands for: itself, or a name for one that a shell makes hard to write."""
    return None if text is None else SEPARATORS.get(text, text.replace("\\t", "\t"))


def column_list(text: str | None) -> list[str] | None:
    """Names between commas."""
    return None if text is None else [name.strip() for name in text.split(",")]

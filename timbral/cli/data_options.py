"""What the commands that read a data set may be told about it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, get_type_hints

import typer

__all__ = ["PANEL", "DataOptions", "TrainingDataOptions", "with_data_options"]

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


@dataclass(frozen=True)
class DataOptions:
    """The options of a command that reads a data set: their names, types and defaults, and what was given."""

    format: Format = None
    preset: PresetOption = None
    separator: Separator = None
    columns: Columns = None
    quoted: Quoted = None
    encoding: Encoding = "utf-8"
    decimal: Decimal = "."
    user_col: UserCol = None
    item_col: ItemCol = None
    value_col: ValueCol = "rating"
    count_rows: CountRows = False
    time_col: TimeCol = None
    time_format: TimeFormat = None
    on_missing: OnMissing = None

    def arguments(self) -> dict[str, Any]:
        """By the names of the messages' and ReadOptions' arguments, which check them and say what they may be."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "count_rows"}
        separator, columns = self.separator, self.columns
        return given | {
            "separator": None if separator is None else SEPARATORS.get(separator, separator.replace("\\t", "\t")),
            "columns": None if columns is None else [name.strip() for name in columns.split(",")],
            "value_col": None if self.count_rows else self.value_col,
        }


@dataclass(frozen=True)
class TrainingDataOptions(DataOptions):
    """Of a command that makes a matrix of it."""

    repeats: Repeats = "sum"


def with_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: the command has, in place of its parameter that is a DataOptions, each of these options."""
    hints = get_type_hints(command, include_extras=True)
    (name,) = (one for one, hint in hints.items() if isinstance(hint, type) and issubclass(hint, DataOptions))
    options = fields(hints[name])
    types = get_type_hints(hints[name], include_extras=True)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        data = {one.name: given.pop(one.name) for one in options}
        command(**given, **{name: hints[name](**data)})

    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == name:
            parameters += [inspect.Parameter(one.name, _BY_NAME, default=one.default) for one in options]
        else:
            parameters.append(parameter.replace(kind=_BY_NAME))
    annotations = {name: hint for name, hint in (hints | types).items() if name != "return"}
    parameters = [one.replace(annotation=annotations[one.name]) for one in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it, see PEP 362
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


_BY_NAME: Final = inspect.Parameter.KEYWORD_ONLY

"""How a data set is to be read: what the loader, the task's message, the command line and the demo may say about it."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace
from typing import Final, Literal

from timbral.data.presets import Preset, preset_called
from timbral.errors import ParameterError

__all__ = ["DEFAULT_VALUE_COL", "OnMissing", "ReadOptions", "Repeats"]

OnMissing = Literal["refuse", "drop"]
Repeats = Literal["sum", "last", "max", "mean"]

DEFAULT_VALUE_COL: Final = "rating"
MOST_SEPARATOR_CHARACTERS: Final = 8


@dataclass(frozen=True)
class ReadOptions:
    """See ``DataLoader.load_csr`` for each. None is always "as the file says"."""

    user_col: str | None = None
    item_col: str | None = None
    value_col: str | None = DEFAULT_VALUE_COL
    time_col: str | None = None
    format: str | None = None
    separator: str | None = None
    columns: tuple[str, ...] | None = None
    quoted: bool | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    time_format: str | None = None
    preset: str | None = None
    on_missing: OnMissing | None = None
    repeats: Repeats = "sum"
    strip_audio_suffix: bool = False

    def checked(self) -> ReadOptions:
        """These options.

        Raises:
            ParameterError: one is wrong; names it, its value and what would be right.
        """
        for name in ("user_col", "item_col", "value_col", "time_col"):
            column = getattr(self, name)
            if column is not None and not isinstance(column, str):
                raise ParameterError(f"{name} must be a column's name, a text, got {column!r}")
        separator = self.separator
        if separator is not None and (
            not 1 <= len(separator) <= MOST_SEPARATOR_CHARACTERS
            or any(character in '"\r\n' for character in separator)
            or not separator.isascii()
        ):
            raise ParameterError(
                "separator must be one ASCII character or a few of them, without a quote or a line end, "
                f"got {separator!r}"
            )
        if self.quoted and separator is not None and len(separator) > 1:
            raise ParameterError(f"quoted=True needs a separator of one character, got {separator!r}")
        for name, value, allowed in (
            ("on_missing", self.on_missing, (None, "refuse", "drop")),
            ("repeats", self.repeats, ("sum", "last", "max", "mean")),
            ("decimal", self.decimal, (".", ",")),
        ):
            if value not in allowed:
                told = ", ".join(repr(one) for one in allowed if one is not None)
                raise ParameterError(f"{name} must be one of {told}, got {value!r}")
        if self.columns is not None and (
            not self.columns or len(set(self.columns)) != len(self.columns) or not all(self.columns)
        ):
            raise ParameterError(f"columns must be distinct names, one for each column, got {list(self.columns)}")
        try:
            "x".encode(self.encoding)  # refuses rot13 and base64, too, which are codecs and no encodings of text
        except (LookupError, UnicodeError, ValueError):
            raise ParameterError(
                f"encoding must be one that Python knows, such as latin-1, got {self.encoding!r}"
            ) from None
        self.named_preset  # noqa: B018 - refuses an unknown name
        return self

    @property
    def named_preset(self) -> Preset | None:
        return None if self.preset is None else preset_called(self.preset)

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig", "ascii")

    @property
    def may_be_a_preset(self) -> bool:
        """Whether nothing was said that a preset would say."""
        return (
            self.preset is None
            and self.columns is None
            and self.user_col in (None, "user_id")
            and self.item_col in (None, "item_id")
            and self.value_col == DEFAULT_VALUE_COL
        )

    def like(self, preset: Preset) -> ReadOptions:
        """These options where they say something, ``preset`` where they do not."""
        return replace(
            self,
            user_col=preset.user if self.user_col in (None, "user_id") else self.user_col,
            item_col=preset.item if self.item_col in (None, "item_id") else self.item_col,
            value_col=preset.value if self.value_col == DEFAULT_VALUE_COL else self.value_col,
            time_col=self.time_col,
            format=preset.format,
            separator=self.separator or preset.separator,
            columns=self.columns or preset.columns or None,
            preset=preset.name,
            on_missing=self.on_missing or ("drop" if preset.drops else None),
        )

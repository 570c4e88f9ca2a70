"""Listening data from files: as a DataFrame, as a DataFrame matrix, or straight to scipy's CSR."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pandas as pd

from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_format import SUPPORTED_FORMATS
from timbral.data.interactions import Interactions
from timbral.data.interactions_frame import read_frame
from timbral.data.interactions_reader import read_interactions
from timbral.data.matrix_frame import matrix_frame
from timbral.data.read_options import DEFAULT_VALUE_COL, OnMissing, ReadOptions, Repeats
from timbral.messages import PresetName

__all__ = ["DataLoader"]


class DataLoader:
    """Reads listening data, and keeps the mappings of the last matrix that it made.

    Attributes:
        supported_formats: ["csv", "parquet", "json"].
        user_to_idx, item_to_idx: matrix index of an original id (dict), of the last ``create_user_item_matrix``.
        idx_to_user, idx_to_item: original id of a matrix index (dict).
    """

    def __init__(self) -> None:
        self.supported_formats: list[str] = list(SUPPORTED_FORMATS)
        self.user_to_idx: dict[int | str, int] = {}
        self.item_to_idx: dict[int | str, int] = {}
        self.idx_to_user: dict[int, int | str] = {}
        self.idx_to_item: dict[int, int | str] = {}

    def load_user_interactions(
        self,
        filepath: str | os.PathLike[str] | DatasetFile,
        format: str | None = "csv",  # noqa: A002 - the public interface's name
        *,
        user_col: str | None = "user_id",
        item_col: str | None = "item_id",
        value_col: str | None = DEFAULT_VALUE_COL,
        separator: str | None = None,
        columns: Sequence[str] | None = None,
        quoted: bool | None = None,
        encoding: str = "utf-8",
        decimal: str = ".",
        preset: PresetName | None = None,
        on_missing: OnMissing | None = None,
        strip_audio_suffix: bool = False,
    ) -> pd.DataFrame:
        """Read a whole data set into a DataFrame, one row a play or rating, every column kept as it is.

        Args:
            filepath: a csv, parquet or json file (an array of objects, or one object a line); csv and json also with
                gzip, bz2, zstd, lz4 or zip; a folder of such files, as Spark and Hive write them.
            format: "csv", "parquet" or "json"; None tells it from the ending or the content.
            user_col, item_col: columns of the ids: int (64-bit) or str. In csv they are ints if all are plainly ints. A
                dotted path is a field of a field ("track.id"), "artist + track" joins two columns, "a | b" takes the
                first that is there. None: told by the columns' names.
            value_col: column of plays or ratings. Where there is no "rating" and no other name was given, a column that
                is unmistakably one ("plays", "play_count", …) is taken, and copied to "rating"; where there is none
                either, or for None, each row counts 1.
            separator: of csv, one character or several ("::"); told from the first lines where None.
            columns: the names of a csv file's columns, where it has no header.
            quoted: whether quotes in csv are around fields; None: yes, but not where the separator is a tab. A quote
                that would make rows one is refused then.
            encoding: of csv: "utf-8", "latin-1", "utf-16", …
            decimal: "," where values have a decimal comma.
            preset: the form of a data set that many have; found by itself where the file tells. See docs/data.md.
            on_missing: "drop" leaves rows without an id or a value out; "refuse", the default but for some presets,
                does not.
            strip_audio_suffix: take an audio file's ending (Constants.SUPPORTED_AUDIO_FORMATS) off item ids.

        Raises:
            ParameterError (ValueError): another format, a wrong option.
            MissingColumnsError (ValueError): ``Missing required columns: ['user_id', 'item_id']``, just those missing.
            DataError (ValueError): bad input; names file, column and data row (from 1, the header not counted).
            DatasetNotFoundError (FileNotFoundError): no such file.
        """
        options = ReadOptions(
            user_col=user_col,
            item_col=item_col,
            value_col=value_col,
            format=format,
            separator=separator,
            columns=None if columns is None else tuple(columns),
            quoted=quoted,
            encoding=encoding,
            decimal=decimal,
            preset=preset,
            on_missing=on_missing,
            strip_audio_suffix=strip_audio_suffix,
        )
        return read_frame(DatasetFile.of(filepath), options)

    def create_user_item_matrix(
        self,
        interactions_df: pd.DataFrame,
        user_col: str = "user_id",
        item_col: str = "item_id",
        value_col: str = DEFAULT_VALUE_COL,
        *,
        repeats: Repeats = "sum",
        on_missing: OnMissing | None = None,
    ) -> pd.DataFrame:
        """Users as rows, items as columns, original ids as labels (ascending), and set the four mappings.

        Args:
            interactions_df: one row a play or rating.
            user_col, item_col, value_col, on_missing: as for ``load_user_interactions``.
            repeats: what becomes of rows of the same user and item: their "sum", the "last", the "max" or the "mean".

        Returns:
            DataFrame of shape (n_users, n_items) of pandas sparse columns (float64, fill value 0): its memory follows
            the number of interactions.

        Raises:
            MissingColumnsError (ValueError), DataError (ValueError): as for ``load_user_interactions``; the mappings
            then
                stay what they were.
        """
        options = ReadOptions(
            user_col=user_col, item_col=item_col, value_col=value_col, repeats=repeats, on_missing=on_missing
        )
        frame, users, items = matrix_frame(interactions_df, options)
        self.idx_to_user, self.idx_to_item = dict(enumerate(users)), dict(enumerate(items))
        self.user_to_idx = {original: index for index, original in self.idx_to_user.items()}
        self.item_to_idx = {original: index for index, original in self.idx_to_item.items()}
        return frame

    def load_csr(
        self,
        filepath: str | os.PathLike[str] | DatasetFile,
        format: str | None = None,  # noqa: A002 - as load_user_interactions
        *,
        user_col: str | None = "user_id",
        item_col: str | None = "item_id",
        value_col: str | None = DEFAULT_VALUE_COL,
        separator: str | None = None,
        columns: Sequence[str] | None = None,
        quoted: bool | None = None,
        encoding: str = "utf-8",
        decimal: str = ".",
        time_col: str | None = None,
        time_format: str | None = None,
        preset: PresetName | None = None,
        on_missing: OnMissing | None = None,
        repeats: Repeats = "sum",
        min_plays: float | None = None,
        max_plays: float | None = None,
        strip_audio_suffix: bool = False,
        on_rows: Callable[[int], None] | None = None,
    ) -> Interactions:
        """Read a data set straight to CSR, without a DataFrame: for data that a DataFrame would choke on.

        It is streamed; memory follows the distinct (user, item) pairs and the distinct ids, about 60 bytes a pair at
        the peak, whatever the files' size or compression. Sets no mapping: the ids are in the answer.

        Args:
            filepath: a path, or what ``resolve_dataset`` found.
            format: "csv", "parquet" or "json"; told from the ending (".csv.gz" is csv) or the content where None.
            user_col, item_col, value_col, separator, columns, quoted, encoding, decimal, preset, on_missing,
                strip_audio_suffix: as for ``load_user_interactions``. A value of 0 makes no entry.
            time_col: column of times: ints, floats (seconds), timestamps, ISO 8601 text. Of repeated rows the latest.
            time_format: how times are written as text, in strptime's letters ("%d %b %Y %H:%M").
            repeats: what becomes of rows of the same user and item: their "sum", the "last" (by ``time_col``, or else
                by their order), the "max" or the "mean".
            min_plays, max_plays: leave (user, item) pairs with less out, cap those with more; after ``repeats``.
            on_rows: called with the number of rows read so far, every few hundred thousand; raise in it to stop.

        Raises:
            As ``load_user_interactions``; a DataError also where no pair reaches ``min_plays``.
        """
        options = ReadOptions(
            user_col=user_col,
            item_col=item_col,
            value_col=value_col,
            time_col=time_col,
            format=format,
            separator=separator,
            columns=None if columns is None else tuple(columns),
            quoted=quoted,
            encoding=encoding,
            decimal=decimal,
            time_format=time_format,
            preset=preset,
            on_missing=on_missing,
            repeats=repeats,
            strip_audio_suffix=strip_audio_suffix,
        )
        read = read_interactions(DatasetFile.of(filepath), options, on_rows=on_rows)
        return read.with_play_thresholds(min_plays, max_plays)

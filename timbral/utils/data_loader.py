"""Listening data from files: as a DataFrame, as a DataFrame matrix, or straight to scipy's CSR."""

from __future__ import annotations

import os
from collections.abc import Callable

import pandas as pd

from timbral.data.column_names import DEFAULT_VALUE_COL, ColumnNames
from timbral.data.dataset_file import SUPPORTED_FORMATS, DatasetFile, checked_format
from timbral.data.interactions import Interactions
from timbral.data.interactions_frame import matrix_frame, read_frame
from timbral.data.interactions_reader import read_interactions

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
        format: str = "csv",  # noqa: A002 - the public interface's name
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        value_col: str = DEFAULT_VALUE_COL,
        separator: str = ",",
        strip_audio_suffix: bool = False,
    ) -> pd.DataFrame:
        """Read a whole file into a DataFrame, one row a play or rating, every column kept.

        Args:
            filepath: csv, parquet, or json (an array of objects, or one object a line); csv and json also with gzip, bz2,
                zstd or lz4.
            format: "csv", "parquet" or "json".
            user_col, item_col: columns of the ids: int (64-bit) or str. In csv they are ints if all are plainly ints.
            value_col: column of plays or ratings; where there is no "rating", the frame gets one that is 1.0.
            separator: of csv.
            strip_audio_suffix: take an audio file's ending (Constants.SUPPORTED_AUDIO_FORMATS) off item ids.

        Raises:
            ParameterError (ValueError): another format.
            MissingColumnsError (ValueError): ``Missing required columns: ['user_id', 'item_id']``, just those missing.
            DataError (ValueError): bad input; names file, column and data row (from 1, the header not counted).
            DatasetNotFoundError (FileNotFoundError): no such file.
        """
        file = DatasetFile.of(filepath)
        names = ColumnNames(user_col, item_col, value_col)
        data_format = checked_format(file.name, format)
        return read_frame(file, data_format, names, separator=separator, strip_audio_suffix=strip_audio_suffix)

    def create_user_item_matrix(
        self,
        interactions_df: pd.DataFrame,
        user_col: str = "user_id",
        item_col: str = "item_id",
        value_col: str = DEFAULT_VALUE_COL,
    ) -> pd.DataFrame:
        """Users as rows, items as columns, original ids as labels (ascending), and set the four mappings.

        Returns:
            DataFrame of shape (n_users, n_items) of pandas sparse columns (float64, fill value 0): its memory follows the
            number of interactions. Repeated (user, item) rows add up. Without a "rating" column each row counts 1.

        Raises:
            MissingColumnsError (ValueError), DataError (ValueError): as for ``load_user_interactions``; the mappings then
                stay what they were.
        """
        frame, users, items = matrix_frame(interactions_df, ColumnNames(user_col, item_col, value_col))
        self.idx_to_user, self.idx_to_item = dict(enumerate(users)), dict(enumerate(items))
        self.user_to_idx = {original: index for index, original in self.idx_to_user.items()}
        self.item_to_idx = {original: index for index, original in self.idx_to_item.items()}
        return frame

    def load_csr(
        self,
        filepath: str | os.PathLike[str] | DatasetFile,
        format: str | None = None,  # noqa: A002 - as load_user_interactions
        *,
        user_col: str = "user_id",
        item_col: str = "item_id",
        value_col: str | None = DEFAULT_VALUE_COL,
        separator: str = ",",
        time_col: str | None = None,
        min_plays: float | None = None,
        max_plays: float | None = None,
        strip_audio_suffix: bool = False,
        on_rows: Callable[[int], None] | None = None,
    ) -> Interactions:
        """Read a file straight to CSR, without a DataFrame: for data that a DataFrame would choke on.

        The file is streamed; memory follows the distinct (user, item) pairs and the distinct ids, about 60 bytes a pair at
        the peak, whatever the file's size or compression. Sets no mapping: the ids are in the answer.

        Args:
            filepath: a path, or what ``resolve_dataset`` found.
            format: "csv", "parquet" or "json"; told from the ending where None (".csv.gz" is csv).
            user_col, item_col, separator, strip_audio_suffix: as for ``load_user_interactions``.
            value_col: column of plays or ratings, summed over repeated rows. Each row counts 1 where there is no "rating"
                and no other name was given, or where this is None. A value of 0 makes no entry.
            time_col: column of times: ints, floats (seconds), timestamps, ISO 8601 text. Of repeated rows the latest.
            min_plays, max_plays: leave (user, item) pairs with less out, cap those with more; after adding up.
            on_rows: called with the number of rows read so far, every few hundred thousand; raise in it to stop.

        Raises:
            As ``load_user_interactions``; a DataError also where no pair reaches ``min_plays``.
        """
        file = DatasetFile.of(filepath)
        data_format = checked_format(file.name, format)
        names = ColumnNames(user_col, item_col, value_col, time_col)
        read = read_interactions(
            file, data_format, names, separator=separator, strip_audio_suffix=strip_audio_suffix, on_rows=on_rows
        )
        return read.with_play_thresholds(min_plays, max_plays)

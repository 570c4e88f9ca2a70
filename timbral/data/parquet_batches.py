"""Reading a parquet file a batch of rows at a time, and only the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from timbral.data.column_names import ColumnNames
from timbral.data.dataset_file import DatasetFile
from timbral.errors import DataError

__all__ = ["parquet_batches"]

ROWS_PER_BATCH: Final = 500_000
BUFFER_BYTES: Final = 2**20
"""A column's bytes are read through a buffer of this size, not a whole row group at once."""


def parquet_batches(
    file: DatasetFile, names: ColumnNames, *, every_column: bool = False
) -> tuple[ColumnNames, Iterator[pa.RecordBatch]]:
    """The columns found, and the rows with the types that they have in the file.

    Raises:
        DataError: it is no parquet file, damaged or cut off.
    """
    stream = file.open()
    try:
        schema = _opened(file, stream).schema_arrow
        found = names.found_in(schema.names, file.name)
        # Arrow keeps the dictionaries that parquet has anyway, instead of a string for each row.
        texts = [name for name in (found.user, found.item) if _is_text(schema.field(name).type)]
        reader = _opened(file, stream, read_dictionary=texts)
    except BaseException:
        stream.close()
        raise
    return found, _batches(file, stream, reader, None if every_column else found.listed())


def _opened(file: DatasetFile, stream: Any, **options: Any) -> Any:
    try:
        stream.seek(0)
        return parquet.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER_BYTES, **options)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _not_readable(file, error) from None


def _batches(file: DatasetFile, stream: Any, reader: Any, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    with stream:
        try:
            for batch in reader.iter_batches(batch_size=ROWS_PER_BATCH, columns=columns):
                # A damaged page can hold places outside its dictionary, or bytes that are no text: Arrow reads on.
                batch.validate(full=True)
                yield batch
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _not_readable(file, error) from None


def _is_text(data_type: Any) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type))


def _not_readable(file: DatasetFile, error: BaseException) -> DataError:
    lines = str(error).splitlines() or [type(error).__name__]
    return DataError(f"is not a parquet file, or is damaged or cut off: {lines[0]}", file.name)

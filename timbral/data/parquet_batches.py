"""Reading a parquet file a batch of rows at a time, and only the columns that are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from timbral.data.column_names import found_columns
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_format import other_kind
from timbral.data.dataset_parts import Part
from timbral.data.id_types import is_text
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.errors import DataError

__all__ = ["group_rows", "parquet_table"]

ROWS_PER_BATCH: Final = 500_000
BUFFER_BYTES: Final = 2**20
"""A column's bytes are read through a buffer of this size, not a whole row group at once."""
PANDAS_INDEX: Final = "__index_level_"


def group_rows(file: DatasetFile) -> list[int]:
    """Rows of each row group of a parquet file."""
    with file.open() as stream:
        metadata = _opened(file, stream).metadata
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def parquet_table(
    part: Part, options: ReadOptions, *, every_column: bool = False, row_groups: range | None = None
) -> Table:
    """The columns found, and the rows with the types that they have in the file; a field of a field by its dotted path.

    Args:
        row_groups: those alone; all where None.

    Raises:
        DataError: it is no parquet file, damaged or cut off.
    """
    file = part.file
    with file.open() as stream:
        schema = _opened(file, stream).schema_arrow

    def is_there(name: str) -> bool:
        return name in part.partitions or _field(schema, name) is not None

    found = found_columns(options, [*schema.names, *part.partitions], file.name, is_there)
    wanted = [name for name in found.columns if name not in part.partitions]
    # Arrow keeps the dictionaries that parquet has anyway, instead of a string for each row.
    ids = {name for source in (found.user, found.item) for name in source.columns}
    texts = [name for name in wanted if name in ids and is_text(_field(schema, name))]
    columns = [name for name in schema.names if not name.startswith(PANDAS_INDEX)]
    return Table(
        found=found,
        options=options,
        format="parquet",
        from_text=False,
        columns=[*columns, *part.partitions],
        partitions=tuple(part.partitions),
        batches=_batches(file, texts, wanted, columns if every_column else None, schema, row_groups),
    )


def _field(schema: pa.Schema, path: str) -> pa.DataType | None:
    """The type of a column or, by its dotted path, of a field in it; None where there is none."""
    if path in schema.names:
        return schema.field(schema.names.index(path)).type
    head, *rest = path.split(".")
    kind = schema.field(schema.names.index(head)).type if head in schema.names else None
    for name in rest:
        if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind


def _opened(file: DatasetFile, stream: Any, **options: Any) -> parquet.ParquetFile:
    try:
        stream.seek(0)
        return parquet.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER_BYTES, **options)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _not_readable(file, error) from None


def _batches(
    file: DatasetFile,
    texts: list[str],
    wanted: list[str],
    every: list[str] | None,
    schema: pa.Schema,
    row_groups: range | None,
) -> Iterator[pa.RecordBatch]:
    nested = [name for name in wanted if name not in schema.names]
    columns = wanted if every is None else every
    with file.open() as stream:
        reader = _opened(file, stream, read_dictionary=texts)
        try:
            groups = range(reader.num_row_groups) if row_groups is None else row_groups
            read = columns or schema.names[:1]
            for batch in reader.iter_batches(batch_size=ROWS_PER_BATCH, columns=read, row_groups=list(groups)):
                # A damaged page can hold places outside its dictionary, or bytes that are no text: Arrow reads on.
                batch.validate(full=True)
                yield _with_fields(batch, nested) if nested else batch
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _not_readable(file, error) from None


def _with_fields(batch: pa.RecordBatch, paths: list[str]) -> pa.RecordBatch:
    for path in paths:
        head, *rest = path.split(".")
        batch = batch.append_column(path, pc.struct_field(batch[head], rest))
    return batch


def _not_readable(file: DatasetFile, error: BaseException) -> DataError:
    with file.open() as stream:
        other = other_kind(stream.read(4096))
    if other is not None:
        return DataError(f"is {other}, not parquet", file.name)
    if "decrypt" in str(error).lower():
        return DataError("is an encrypted parquet file: write it without encryption", file.name)
    lines = str(error).splitlines() or [type(error).__name__]
    return DataError(f"is not a parquet file, or is damaged or cut off: {lines[0]}", file.name)

"""HistoryTable: the Delta Lake table of all plays. Spark, DuckDB, pandas and Polars read the same table.

Every write is one commit, whole or not there. A write names its source and how far it has got in it, in the commit
itself: written once
more, it is refused, whoever died in between. Ids are in no file name, no log and no statistics, so that a deleted user
is in no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import structlog
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow import dataset as ds
from pyarrow import fs, parquet

from timbral.errors import HistoryError
from timbral.history.files import FilePart, HistoryFile, HistoryStats, check_columns
from timbral.history.play_rows import PARTITIONS, SCHEMA, RecordedPlay, plays_in
from timbral.history.watermark import NOTHING, watermark_of
from timbral.messages import Id

__all__ = ["STREAM", "HistoryTable"]

logger = structlog.get_logger(__name__)

STREAM: Final = "timbral.stream"
"""The source of the plays that apps record, as commits name it; a file that was imported has a name of its own."""

CONFIGURATION: Final = {
    "delta.dataSkippingStatsColumns": "at,plays",  # the log must not hold ids: a deleted user would stay in it
    "delta.logRetentionDuration": "interval 7 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
    "delta.checkpointInterval": "50",
}
WRITTEN: Final = WriterProperties(compression="GZIP", compression_level=1)
"""Of the codecs of Parquet that all its readers know, the one with a checksum: a bit that has flipped on a disk is an
error, where Snappy and Zstandard mostly give other plays. A sixth more time to write, and smaller files."""
ATTEMPTS: Final = 8
"""Times that a commit is tried again while others commit too."""
ROWS_PER_BATCH: Final = 500_000
SMALL_FILE_BYTES: Final = 32 * 2**20
COMPACT_FROM_FILES: Final = 24
"""So many small files in a month are made one."""


class HistoryTable:
    """The table at ``uri``: a folder, or ``s3://…`` with the usual AWS_* variables. It is made with the first write.

    Raises:
        HistoryError: from every method, where the table cannot be read or written; it names the place and the problem.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri = os.fspath(uri)

    # Reading

    def exists(self) -> bool:
        """Whether there is a table."""
        with self._errors():
            return bool(DeltaTable.is_deltatable(self.uri))

    def version(self) -> int | None:
        """The newest version, None without a table. Every commit makes one more."""
        table = self._table()
        return None if table is None else int(table.version())

    def watermark(self, version: int | None = None) -> str:
        """Id of the last entry of the plays' stream that the table has (at ``version``), ``0-0`` for none."""
        table = self._table(version)
        number = None if table is None else self._number_of(table, STREAM)
        return NOTHING if number is None else watermark_of(number)

    def has(self, source: str) -> bool:
        """Whether something of this ``source`` was appended."""
        table = self._table()
        return table is not None and self._number_of(table, source) is not None

    def batches(
        self, version: int | None = None, columns: Sequence[str] | None = None, part: FilePart | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a version (the newest where None), or ``part`` of them, always in the same order; ids as
        dictionaries."""
        table = self._table(version)
        if table is None:
            return
        filesystem = self._filesystem(table)
        wanted = [name for name in columns or SCHEMA.names if name not in PARTITIONS]
        n_rows = {file.path: file.rows for file in self._files(table)}
        for path in sorted(n_rows) if part is None else [part.path]:
            n_read = 0
            with self._errors(file=path), filesystem.open_input_file(path) as opened:
                file = parquet.ParquetFile(
                    opened, pre_buffer=False, buffer_size=2**20, read_dictionary=["user_id", "item_id"]
                )
                check_columns(file, wanted)
                groups = range(file.num_row_groups) if part is None else range(part.start, part.stop)
                for batch in file.iter_batches(batch_size=ROWS_PER_BATCH, columns=wanted, row_groups=list(groups)):
                    n_read += batch.num_rows
                    yield batch
            if part is None and n_read != n_rows[path]:
                problem = f"{path} has {n_read} rows, and {n_rows[path]} were written: it is damaged"
                raise HistoryError(self.uri, problem)

    def row_groups(self, version: int | None = None) -> list[tuple[str, list[int]]]:
        """The files of a version in the order of ``batches``, and the rows of each of their row groups."""
        table = self._table(version)
        found: list[tuple[str, list[int]]] = []
        if table is None:
            return found
        filesystem = self._filesystem(table)
        with self._errors():
            paths = self._paths(table)
        for path in paths:
            with self._errors(file=path), filesystem.open_input_file(path) as opened:
                told = parquet.ParquetFile(opened).metadata
                found.append((path, [told.row_group(group).num_rows for group in range(told.num_row_groups)]))
        return found

    def plays_of(self, user_id: Id) -> pa.Table:
        """All plays of a user: a table of SCHEMA, oldest first."""
        table = self._table()
        if table is None:
            return SCHEMA.empty_table()
        own = (ds.field("user_id") == str(user_id)) & (ds.field("user_is_int") == isinstance(user_id, int))
        return self._rows(table, own).sort_by("at")

    def recorded_between(self, first_us: int, last_us: int) -> Iterator[RecordedPlay]:
        """The plays that the fleet got to know of from ``first_us`` to ``last_us``, microseconds since 1970."""
        table = self._table()
        if table is None:
            return
        first, last = (pa.scalar(one, pa.int64()).cast(SCHEMA.field("recorded_at").type) for one in (first_us, last_us))
        recorded_at = ds.field("recorded_at")
        yield from plays_in(self._rows(table, (recorded_at >= first) & (recorded_at <= last)))

    def files(self, version: int | None = None) -> list[HistoryFile]:
        """The files of a version (the newest where None), from the log alone."""
        table = self._table(version)
        return [] if table is None else self._files(table)

    def stats(self, version: int | None = None) -> HistoryStats:
        """Rows, files and times, from the log alone."""
        table = self._table(version)
        if table is None:
            return HistoryStats(-1, NOTHING, 0, 0, 0, None, None)
        files = self._files(table)
        return HistoryStats(
            version=int(table.version()),
            watermark=self.watermark(int(table.version())),
            rows=sum(file.rows for file in files),
            files=len(files),
            bytes=sum(file.bytes for file in files),
            oldest=min((file.oldest for file in files if file.oldest is not None), default=None),
            newest=max((file.newest for file in files if file.newest is not None), default=None),
        )

    def times_in(self, file: HistoryFile) -> pa.ChunkedArray:
        """When the plays of one file were, and nothing else of them."""
        table = self._table()
        if table is None:
            return pa.chunked_array([], SCHEMA.field("at").type)
        with self._errors(file=file.path), self._filesystem(table).open_input_file(file.path) as opened:
            return parquet.ParquetFile(opened).read(columns=["at"])["at"]

    def last_write(self) -> tuple[datetime, str] | None:
        """When something was last written, and by which operation; None without a table."""
        table = self._table()
        if table is None:
            return None
        with self._errors():
            commits = list(table.history(1))
        if not commits or "timestamp" not in commits[0]:
            return None
        return datetime.fromtimestamp(commits[0]["timestamp"] / 1_000, UTC), str(commits[0].get("operation", ""))

    # Writing

    def append(
        self, rows: pa.Table | pa.RecordBatchReader, source: str, number: int, *, after: int | None = None
    ) -> bool:
        """Write rows of SCHEMA in one commit, if ``after`` is the number that the table has of this ``source`` (None or
        0: none).

        Returns:
            whether they were written; False where the table has another number, be it that of a writer who was first.
        """
        for _ in range(ATTEMPTS):
            table = self._table() or self._created()
            if (self._number_of(table, source) or 0) != (after or 0):
                return False
            try:
                with self._errors(CommitFailedError):
                    write_deltalake(
                        table,
                        rows,
                        mode="append",
                        writer_properties=WRITTEN,
                        commit_properties=CommitProperties(app_transactions=[Transaction(source, number)]),
                    )
                return True
            except CommitFailedError as error:
                # Another writer was first: of the same source, then the table has another number; or of something else,
                # then it is tried again.
                logger.info("history: another writer was first", uri=self.uri, problem=str(error))
                if not isinstance(rows, pa.Table):
                    raise HistoryError(self.uri, f"another writer was first: {error}") from error
        raise HistoryError(self.uri, "other writers were first at every attempt")

    def delete_user(self, user_id: Id) -> int:
        """Delete all plays of a user, and every old file that held them: afterwards their id is in no file.

        No older version can be read any more. Returns the number of rows deleted.
        """
        # A merge, since a delete writes its condition, with the id in it, into the log.
        wanted = pa.table({"user_id": [str(user_id)], "user_is_int": [isinstance(user_id, int)]})
        n_deleted = 0
        for _ in range(ATTEMPTS):
            table = self._table()
            if table is None:
                return n_deleted
            try:
                with self._errors(CommitFailedError):
                    merge = table.merge(
                        wanted,
                        "t.user_id = s.user_id AND t.user_is_int = s.user_is_int",
                        source_alias="s",
                        target_alias="t",
                        writer_properties=WRITTEN,
                    )
                    n_deleted += int(merge.when_matched_delete().execute()["num_target_rows_deleted"])
                # Not a full vacuum, which would take the files of a write that is on its way.
                self._vacuum(table, 0, full=False)
                return n_deleted
            except CommitFailedError as error:
                logger.info("history: another writer was first", uri=self.uri, problem=str(error))
            except HistoryError as error:
                # Another user's erasure deletes the files that this one reads.
                if self.version() == table.version():
                    raise
                logger.info("history: it changed meanwhile", uri=self.uri, problem=str(error))
        raise HistoryError(self.uri, "other writers were first at every attempt")

    def compact(self) -> int:
        """Make one file of many small ones, month by month; returns how many files went."""
        table = self._table()
        if table is None:
            return 0
        with self._errors():
            small: dict[str, int] = {}
            for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
                if int(file["size_bytes"]) < SMALL_FILE_BYTES:
                    small[file["partition.month"]] = small.get(file["partition.month"], 0) + 1
            n_gone = 0
            for month, n_files in sorted(small.items()):
                if n_files >= COMPACT_FROM_FILES:
                    done = table.optimize.compact(partition_filters=[("month", "=", month)], writer_properties=WRITTEN)
                    n_gone += int(done["numFilesRemoved"])
        return n_gone

    def vacuum(self, keep_versions: Iterable[int] = ()) -> int:
        """Delete files that no version needs which is younger than a week or in ``keep_versions``; returns how many."""
        table = self._table()
        if table is None:
            return 0
        kept = sorted({version for version in keep_versions if version <= table.version()})
        return self._vacuum(table, None, full=True, keep_versions=kept or None)

    # The table

    def _table(self, version: int | None = None) -> DeltaTable | None:
        with self._errors():
            try:
                return DeltaTable(self.uri, version=version)
            except TableNotFoundError:
                if version is not None:
                    raise
                return None

    def _number_of(self, table: DeltaTable, source: str) -> int | None:
        """How far the table is with a source; None where nothing of it was appended."""
        with self._errors():
            number = table.transaction_version(source)
        return None if number is None else int(number)

    def _files(self, table: DeltaTable) -> list[HistoryFile]:
        with self._errors():
            listed = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        for file in listed:
            if file.get("num_records") is None:
                raise HistoryError(self.uri, f"its log does not say how many rows {file['path']} has")
        return [
            HistoryFile(
                file["path"],
                str(file.get("partition.month", "")),
                int(file["num_records"]),
                int(file["size_bytes"]),
                file.get("min.at"),
                file.get("max.at"),
            )
            for file in listed
        ]

    def _vacuum(
        self, table: DeltaTable, hours: int | None, *, full: bool, keep_versions: list[int] | None = None
    ) -> int:
        with self._errors():
            gone = table.vacuum(
                retention_hours=hours,
                dry_run=False,
                enforce_retention_duration=hours is None,
                full=full,
                keep_versions=keep_versions,
            )
            return len(gone)

    def _created(self) -> DeltaTable:
        if "://" not in self.uri:
            Path(self.uri).mkdir(parents=True, exist_ok=True)
        with self._errors():
            return DeltaTable.create(
                self.uri,
                SCHEMA,
                mode="ignore",
                partition_by=PARTITIONS,
                configuration=CONFIGURATION,
                description="timbral: every play, one row each",
            )

    def _filesystem(self, table: DeltaTable) -> Any:
        if "://" not in self.uri:
            return fs.SubTreeFileSystem(str(Path(self.uri).resolve()), fs.LocalFileSystem())
        return fs.PyFileSystem(DeltaStorageHandler.from_table(table._table))

    def _rows(self, table: DeltaTable, wanted: ds.Expression) -> pa.Table:
        with self._errors():
            paths, filesystem = self._paths(table), self._filesystem(table)
        try:
            rows = ds.dataset(
                paths, schema=SCHEMA, format=_IDS_AS_DICTIONARIES, filesystem=filesystem, partitioning=_MONTHS
            )
            found = rows.to_table(filter=wanted, columns=SCHEMA.names)
            if any(column.null_count for column in found.columns):
                raise OSError("it is damaged: columns are missing")
            return found
        except (pa.ArrowException, OSError) as error:
            with self._errors(file=self._first_unreadable(table)):
                raise error from None

    def _first_unreadable(self, table: DeltaTable) -> str:
        """The file whose damage has made an error of a question to all of them; "" where each can be read."""
        for path in self._paths(table):
            try:
                with self._filesystem(table).open_input_file(path) as opened:
                    file = parquet.ParquetFile(opened)
                    check_columns(file, [name for name in SCHEMA.names if name not in PARTITIONS])
                    for _ in file.iter_batches(ROWS_PER_BATCH):
                        pass
            except (pa.ArrowException, OSError):
                return path
        return ""

    def _paths(self, table: DeltaTable) -> list[str]:
        files = pa.table(table.get_add_actions(flatten=True))
        return sorted(files["path"].to_pylist())

    @contextmanager
    def _errors(self, *passed: type[Exception], file: str = "") -> Iterator[None]:
        try:
            yield
        except passed:
            raise
        except (DeltaError, pa.ArrowException, OSError) as error:
            # deltalake puts the cause, "No space left on device", say, behind its own words in a line of its own.
            lines = [_PLAIN.sub("", line).strip() for line in str(error).splitlines()] or [type(error).__name__]
            causes = [line.removeprefix("↳").strip() for line in lines if line.startswith("↳")]
            raise HistoryError(self.uri, ": ".join([*([file] if file else []), lines[0], *causes[-1:]])) from error


_PLAIN = re.compile(r"\x1b\[[0-9;]*m")
"""Colours for a terminal."""
_IDS_AS_DICTIONARIES = ds.ParquetFileFormat(
    read_options=ds.ParquetReadOptions(dictionary_columns={"user_id", "item_id"})
)
"""What delta-rs has rewritten says that its text is Arrow's string_view, which has no comparison with text."""
_MONTHS = ds.partitioning(pa.schema([("month", pa.string())]), flavor="hive")

"""A column of ids as it is read batch by batch: checked, and turned into codes."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.config.settings import Constants
from timbral.data.id_index import IdIndex
from timbral.data.id_types import encoded_ids, is_bytes, is_text
from timbral.data.odd_ids import is_decimal, is_missing, is_odd, is_plain_int, plain_ints
from timbral.data.places import Place, shown
from timbral.errors import DataError

__all__ = ["MAX_ID_LENGTH", "IdColumn"]

MAX_ID_LENGTH: Final = 512
"""Characters; what messages allow too (timbral.messages.Id)."""

AUDIO_ENDINGS: Final = "|".join(ending.removeprefix(".") for ending in Constants.SUPPORTED_AUDIO_FORMATS)
DROP_HINT: Final = 'correct it, or leave such rows out with on_missing="drop"'

INTS, ALMOST_INTS, TEXT = "ints", "almost ints", "text"
"""What a column's texts are so far: plain ints, plain ints and some odd ones (NULL, " 7"), anything."""


class IdColumn:
    """Collects one column's ids. ``add`` each batch; ``take_codes`` now and then; ``index`` at the end.

    Ids become dense int32 codes in order of appearance. What is kept are the distinct ids and the codes not yet taken.

    Args:
        column: its name, for error messages.
        from_text: the file has no types (csv): the ids are ints if every one of them is an int written in the plain way
            ("7", "-7"), so that it can be written back; if one is not ("007", "x7"), all are strings.
        drop_odd: where all other ids are ints, those that stand for "there is none" or are not written as ints are left
            out (code -1 in the end), instead of refused.
        believed: a text is an id whatever it says: an app gave it as one.
        strip_audio_suffix: take one of Constants.SUPPORTED_AUDIO_FORMATS off the end of an id, in any case.
    """

    def __init__(
        self,
        column: str,
        *,
        from_text: bool = False,
        drop_odd: bool = False,
        believed: bool = False,
        strip_audio_suffix: bool = False,
    ) -> None:
        self.column = column
        self.drops_odd = False
        """Known after ``index``: whether rows with an odd id were left out."""
        self._becomes_int = from_text and not strip_audio_suffix
        self._from_text = from_text
        self._drop_odd = drop_odd
        self._strip_audio_suffix = strip_audio_suffix
        self._state = INTS if self._becomes_int else TEXT if strip_audio_suffix or believed else ALMOST_INTS
        self._kind: pa.DataType | None = None
        self._distinct: pa.Array | None = None
        self._pending: list[pa.DictionaryArray] = []
        self._used = np.zeros(0, dtype=bool)
        self._first_text: tuple[str, DataError] | None = None
        self._first_odd: DataError | None = None

    def __len__(self) -> int:
        """How many ids were seen in the codes taken so far."""
        return 0 if self._distinct is None else len(self._distinct)

    def add(self, array: pa.Array, place: Place) -> npt.NDArray[np.bool_] | None:
        """Take a batch without nulls: ints, decimals, strings, UUIDs or a dictionary of ints or strings.

        Returns:
            Which rows have an id that is odd if the column turns out to be one of ints; None where no row has.

        Raises:
            DataError: an id is empty, longer than MAX_ID_LENGTH, not valid UTF-8, beyond 64 bits, or no int or string.
        """
        if not len(array):
            return None
        encoded = encoded_ids(array, self.column, place)
        distinct = self._checked(encoded, place)
        if not self._from_text and self._kind not in (None, distinct.type):
            kind, before = ("text", "ints") if pa.types.is_large_string(distinct.type) else ("ints", "text")
            raise place.error(self.column, 0, f"ids are {kind} here and {before} in the files before")
        self._kind = distinct.type
        indices = encoded.indices.cast(pa.int32())
        odd = None
        if pa.types.is_large_string(distinct.type):
            distinct, odd = self._judged(encoded, distinct, place)
            if self._strip_audio_suffix:
                # Two names may become one id, and a dictionary must not have it twice.
                names = pc.replace_substring_regex(distinct, rf"(?i)(.)\.({AUDIO_ENDINGS})$", r"\1")
                merged = names.dictionary_encode()
                indices, distinct = merged.indices.take(indices), merged.dictionary
        self._pending.append(pa.DictionaryArray.from_arrays(indices, distinct))
        return odd

    def take_codes(self) -> npt.NDArray[np.int32]:
        """Codes of the rows added since the last call, int32 (n_rows,)."""
        if not self._pending:
            return np.empty(0, dtype=np.int32)
        distinct = self._pending[0].dictionary.slice(0, 0) if self._distinct is None else self._distinct
        # What is known comes first, so that it keeps its codes.
        known = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), distinct)
        chunks = pa.chunked_array([known, *self._pending]).unify_dictionaries()
        self._pending = []
        self._distinct = chunks.chunk(0).dictionary
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunks.chunks[1:]])
        used = np.zeros(len(self._distinct), dtype=bool)
        used[: len(self._used)] = self._used
        used[codes] = True
        self._used = used
        return codes

    def index(self) -> tuple[IdIndex, npt.NDArray[np.int32]]:
        """The ids in ascending order, and the final code of each code taken so far; -1 for an id that is left out.

        Raises:
            DataError: the ids of a csv file are floats, or there are odd ids among ints; names the first row.
        """
        assert self._distinct is not None and not self._pending  # noqa: S101, PT018 - the caller's order of calls
        # A dictionary may hold ids that no row has (pandas' unused categories).
        used = np.flatnonzero(self._used)
        ids = self._distinct.take(pa.array(used))
        if self._state == TEXT:
            self._refuse_floats(ids)
        elif self._first_odd is not None:
            if not self._drop_odd:
                raise self._first_odd
            odd = is_odd(ids, self.column)
            used, ids = used[~odd], ids.filter(pa.array(~odd))
            self.drops_odd = True
        if self._state == ALMOST_INTS and self._becomes_int:
            ids = ids.cast(pa.int64())
        order = pc.sort_indices(ids)
        final = np.full(len(self._distinct), -1, dtype=np.int32)
        final[used[order.to_numpy()]] = np.arange(len(used), dtype=np.int32)
        return IdIndex(ids.take(order)), final

    def found(self) -> tuple[pa.Array, npt.NDArray[np.int32]]:
        """The ids so far, as they came, and the place among them of each code taken so far. Whether they can be a
        column's together is for ``index`` of the column that has all of them."""
        assert self._distinct is not None and not self._pending  # noqa: S101, PT018 - the caller's order of calls
        used = np.flatnonzero(self._used)
        places = np.full(len(self._distinct), -1, dtype=np.int32)
        places[used] = np.arange(len(used), dtype=np.int32)
        return self._distinct.take(pa.array(used)), places

    @property
    def problems(self) -> tuple[DataError | None, DataError | None]:
        """What is wrong with the first text among ints, and with the first odd id, if the column is one of ints."""
        return None if self._first_text is None else self._first_text[1], self._first_odd

    def _checked(self, encoded: pa.DictionaryArray, place: Place) -> pa.Array:
        """The dictionary of ``encoded`` as int64 or large_string."""
        distinct = encoded.dictionary
        kind = distinct.type
        if pa.types.is_uint64(kind):
            too_large = pc.greater(distinct, pa.scalar(2**63 - 1, pa.uint64()))
            self._refuse(encoded, too_large, place, "does not fit 64 bits with a sign")
            return pc.cast(distinct, pa.int64(), safe=False)
        if pa.types.is_integer(kind):
            return distinct.cast(pa.int64())
        if not is_text(kind) and not is_bytes(kind):
            raise place.error(self.column, 0, f"ids must be ints or strings, got {shown(encoded[0].as_py())} ({kind})")
        try:
            text = distinct.cast(pa.large_string())
            text.validate(full=True)  # parquet's strings are not checked on reading
        except pa.ArrowInvalid:
            raise place.error(self.column, 0, "an id is not valid UTF-8 (in this row or one of the next)") from None
        lengths = pc.utf8_length(text)
        self._refuse(encoded, pc.equal(lengths, 0), place, "is empty")
        too_long = pc.greater(lengths, MAX_ID_LENGTH)
        self._refuse(encoded, too_long, place, f"is longer than {MAX_ID_LENGTH} characters")
        if self._from_text:
            nul = pc.match_substring(text, "\0")
            self._refuse(encoded, nul, place, "has the character NUL: is the file damaged, or no text?")
        return text

    def _refuse(self, encoded: pa.DictionaryArray, bad: pa.Array, place: Place, problem: str) -> None:
        """Raise for the first row whose id is ``bad``, a mask over the dictionary."""
        if not pc.any(bad).as_py():
            return
        at = pc.index(bad.take(encoded.indices), True).as_py()
        if at >= 0:
            raise place.error(self.column, at, f"the id {shown(encoded[at].as_py())} {problem}")

    def _judged(
        self, encoded: pa.DictionaryArray, distinct: pa.Array, place: Place
    ) -> tuple[pa.Array, npt.NDArray[np.bool_] | None]:
        """The dictionary as ints while all ids are; and which rows have an odd id, if all the others are ints."""
        if self._state == TEXT:
            return distinct, None
        if self._state == INTS:
            ints = plain_ints(distinct)
            if ints is not None:
                return ints, None
            self._state = ALMOST_INTS
            self._back_to_text()
        odd = is_odd(distinct, self.column)
        rows = encoded.indices.to_numpy(zero_copy_only=False)
        texts = ~(odd | is_plain_int(distinct))[rows]
        if texts.any():
            at = int(texts.argmax())
            text = encoded[at].as_py()
            problem = f"ids must be ints or strings, got the float {text}"
            self._first_text = (str(text), place.error(self.column, at, problem))
            self._state = TEXT
            return distinct, None
        odd_rows: npt.NDArray[np.bool_] = odd[rows]
        if not odd_rows.any():
            return distinct, None
        if self._first_odd is None:
            at = int(odd_rows.argmax())
            self._first_odd = place.error(self.column, at, self._oddness(encoded[at].as_py()))
        return distinct, odd_rows

    def _back_to_text(self) -> None:
        """What was taken for ints goes back to exactly the text that it was."""
        if self._distinct is not None:
            self._distinct = self._distinct.cast(pa.large_string())
        self._pending = [
            pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.large_string()))
            for chunk in self._pending
        ]

    def _oddness(self, text: str) -> str:
        if text == self.column:
            said = f"{text!r} is the header again"
        elif is_missing(pa.array([text]))[0]:
            said = f"{shown(text)} stands for a missing id"
        else:
            said = f"{shown(text)} is an int with something around it"
        return f"{said}, and no other id is text; {DROP_HINT}"

    def _refuse_floats(self, ids: pa.Array) -> None:
        if self._first_text is None or not pa.types.is_large_string(ids.type) or not self._from_text:
            return
        text, error = self._first_text
        if not set(text) & set(".eE") or not is_decimal(pa.array([text]))[0]:
            return
        if (is_decimal(ids) | is_odd(ids, self.column)).all():
            raise error

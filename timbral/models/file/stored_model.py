"""StoredModel: a model's way into a file and back."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy.typing as npt

from timbral.errors import DataError, ModelFileError, ParameterError
from timbral.models.file import model_file
from timbral.models.file.model_record import ModelRecord

__all__ = ["StoredModel"]


class StoredModel(ABC):
    """Saves and loads what ``_record`` gives and ``_restore`` takes."""

    @abstractmethod
    def _record(self) -> ModelRecord:
        """All of the fitted model."""

    @abstractmethod
    def _restore(self, record: ModelRecord) -> None:
        """Become the model that ``record`` is of; DataError or ParameterError where it is none's, the model then stays
        what it was."""

    @abstractmethod
    def index_tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The fitted model's indexes: arrays by name."""

    @abstractmethod
    def _map_indexes(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the indexes from what ``index_tensors`` gave; DataError where they are another model's, KeyError where
        they are not there."""

    def tensors(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
        """All of the fitted model: arrays by name, none of them copied, and texts by name."""
        return self._record().tensors()

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write the model to ``filepath``, making missing folders, replacing an old file atomically.

        Raises:
            NotFittedError: there is no model yet.
            ModelStoreError: the disk is full, no permission, …; an old file is untouched.
        """
        arrays, texts = self.tensors()
        model_file.write(filepath, arrays | self.index_tensors(), texts)

    def load(self, filepath: str | os.PathLike[str]) -> Self:
        """Become the model that was saved at ``filepath``. Its arrays are mapped from the file, read-only; no code is
        run.

        Raises:
            ModelNotFoundError: no such file; it is a FileNotFoundError.
            ModelFileError: damaged, or not a model of ours; it is a ValueError. The model stays what it was.
        """
        arrays, texts = model_file.read(filepath)
        try:
            made = self._read(arrays, texts, with_indexes=True)
        except (DataError, ParameterError) as error:
            raise ModelFileError(os.fspath(filepath), f"not a model that this version can read: {error}") from error
        self.__dict__.update(made.__dict__)
        return self

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        metadata: Mapping[str, str],
        *,
        with_indexes: bool = False,
    ) -> Self:
        """The model whose ``tensors()`` these were, or, ``with_indexes``, its ``index_tensors()`` beside them;
        DataError or ParameterError where they are none's."""
        return cls()._read(tensors, metadata, with_indexes)

    def _read(self, tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str], with_indexes: bool) -> Self:
        """Another model, which has of this one what no file holds."""
        model = copy.copy(self)
        model._restore(ModelRecord.from_tensors(tensors, metadata))
        if with_indexes:
            try:
                model._map_indexes(tensors)
            except KeyError as error:
                raise DataError(f"it has no {error.args[0]}") from error
        return model

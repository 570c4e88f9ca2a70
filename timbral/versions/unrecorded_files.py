"""The files of no version: a training was killed behind its file and cancelled, or Redis came back without its last
writes.

They stay, since a backup of Redis may know them; but nobody who was forgotten stays in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from timbral.errors import ModelNotFoundError
from timbral.messages import Id
from timbral.versions.model_store import ModelStore
from timbral.versions.row_removal import without_rows

__all__ = ["remove_from_unrecorded"]


def remove_from_unrecorded(store: ModelStore, user_ids: Sequence[Id]) -> int:
    """Rewrite the files that hold the forgotten ``user_ids`` without them; returns how many rows of theirs there were.

    Raises:
        ModelFileError: a file is damaged.
        ModelStoreError: one cannot be written; nothing changed.
    """
    n_removed = 0
    with store.files.rewriting():
        for version in sorted(store.files.found() - set(store.versions())):
            try:
                served = store.files.read(version)
            except ModelNotFoundError:  # it has just been removed
                continue
            codes = np.unique(served.user_ids.codes(list(user_ids)))
            codes = codes[codes >= 0]
            if len(codes):
                store.files.write(without_rows(served, codes, served.revision + 1))
                store.files.archived(version)
                n_removed += len(codes)
    return n_removed

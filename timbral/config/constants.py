"""What no deployment changes."""

from __future__ import annotations

from typing import Final

__all__ = ["Constants"]


class Constants:
    """Values that are part of the interface and the same everywhere."""

    MIN_PLAYS_THRESHOLD: Final = 5
    """Read by ``train_model`` with ``apply_play_thresholds``: rows with fewer plays are left out."""
    MAX_PLAYS_THRESHOLD: Final = 10_000
    """Read by ``train_model`` with ``apply_play_thresholds``: a row's plays are capped at this."""
    NMF_MAX_ITER: Final = 200
    """Read by NMFModel: most sweeps of a training; it stops before when the loss no longer falls."""
    NMF_TOL: Final = 1e-4
    """Read by NMFModel: a training stops when the loss falls by less than this, relative, in a sweep."""
    USER_EMBEDDINGS_KEY: Final = "user_embeddings"
    """Read by timbral.keys: the cache key of all users' embeddings."""
    ITEM_EMBEDDINGS_KEY: Final = "item_embeddings"
    """Read by timbral.keys: the cache key of all items' embeddings."""
    RECOMMENDATIONS_KEY: Final = "recommendations"
    """Read by timbral.keys: the prefix of the recommendations' keys."""
    SUPPORTED_AUDIO_FORMATS: Final = (".mp3", ".wav", ".flac", ".m4a")
    """Read by DataLoader: item ids that end in one of these are file names, and lose the ending where asked."""
    SUPPORTED_DATA_FORMATS: Final = (".csv", ".parquet", ".json")
    """Read by DataLoader: the endings from which a data set's format is told."""

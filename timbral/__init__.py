"""timbral: a recommender for listening data that lives behind a queue."""

__version__ = "0.1.0"

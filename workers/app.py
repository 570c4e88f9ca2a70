"""The Celery application of the fleet: ``celery -A workers.app worker``."""

from __future__ import annotations

from celery import Celery

app = Celery("timbral", include=["workers.tasks"])
app.config_from_object("celeryconfig")

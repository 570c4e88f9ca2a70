"""The fleet: the Celery application, its tasks, and what delivers their messages."""

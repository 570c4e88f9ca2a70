"""Every error that timbral raises on purpose.

    TimbralError
    ├── SettingsError          ValueError         a setting has a value that cannot be right
    ├── ParameterError         ValueError         an argument of a call is wrong (type, range, unknown id)
    │   └── MessageError       ValueError         a task's arguments are wrong; lists each bad field
    ├── DataError              ValueError         a data set cannot be used as it is; names file, column and row
    │   └── MissingColumnsError
    ├── NotFittedError         ValueError         a model was asked before it was fitted
    ├── DatasetNotFoundError   FileNotFoundError  no data set at that path
    ├── ModelNotFoundError     FileNotFoundError  no model file or no such version
    ├── ModelFileError         ValueError         a model file is damaged or is not one of ours
    ├── ModelStoreError        OSError            a model cannot be written (disk full, no permission)
    ├── HistoryError           OSError            the history of plays cannot be read or written
    ├── RedisUnavailableError  ConnectionError    Redis cannot be reached or does not answer
    │   ├── RedisRefusedError                     it answers, and refuses: a replica, full, a key of another type
    │   └── RedisPermissionError                  it answers, and its user may not do this
    ├── TrainingError          RuntimeError       a training failed or gave a model that is not usable
    ├── PredictionError        RuntimeError       a prediction failed on a fitted model
    └── JobError               RuntimeError       what a producer learns of a task that did not succeed
        ├── TaskFailedError                       it failed with an error that is not one of ours
        ├── JobCancelledError                     it was cancelled
        ├── DeadLetterError                       its message was parked after too many deliveries
        └── JobTimeoutError    TimeoutError       it was not done in the time that the caller gave it

They cross Celery's result backend, which stores the class's name and ``args`` and rebuilds the error from them. So each
class takes positional arguments that JSON can carry, passes them on unchanged, and makes its text in ``__str__``.
The OSError family (FileNotFoundError, ConnectionError, TimeoutError) keeps two arguments at most: Python cuts off the
rest.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DataError",
    "DatasetNotFoundError",
    "DeadLetterError",
    "HistoryError",
    "JobCancelledError",
    "JobError",
    "JobTimeoutError",
    "MessageError",
    "MissingColumnsError",
    "ModelFileError",
    "ModelNotFoundError",
    "ModelStoreError",
    "NotFittedError",
    "ParameterError",
    "PredictionError",
    "RedisPermissionError",
    "RedisRefusedError",
    "RedisUnavailableError",
    "SettingsError",
    "TaskFailedError",
    "TimbralError",
    "TrainingError",
    "error_from",
]


class TimbralError(Exception):
    """Root of the tree: ``except TimbralError`` catches all of ours and nothing else."""

    def __str__(self) -> str:
        return " ".join(str(arg) for arg in self.args)


class SettingsError(TimbralError, ValueError):
    """``SettingsError(problems)``: a list of "NAME: what is wrong" lines."""

    def __str__(self) -> str:
        problems = self.args[0] if self.args else []
        lines = [problems] if isinstance(problems, str) else [str(problem) for problem in problems]
        return "timbral cannot start with these settings:\n  " + "\n  ".join(lines)


class ParameterError(TimbralError, ValueError):
    """``ParameterError(text)``."""


class MessageError(ParameterError):
    """``MessageError(task, problems)``: ``problems`` is a list of ``{"field", "problem", "value"}`` dicts."""

    def __str__(self) -> str:
        if len(self.args) != 2:
            return super().__str__()
        task, problems = self.args
        listed = "; ".join(f"{p['field']}: {p['problem']} (got {p['value']})" for p in problems)
        return f"{task}: {listed}"


class DataError(TimbralError, ValueError):
    """``DataError(text)`` or ``DataError(text, filepath)``; the text says column and row where there is one."""

    def __str__(self) -> str:
        return f"{self.args[1]}: {self.args[0]}" if len(self.args) == 2 else super().__str__()


class MissingColumnsError(DataError):
    """``MissingColumnsError(missing)`` or ``MissingColumnsError(missing, filepath, found)``, lists of column names; and
    what else may be the reason, a text."""

    def __str__(self) -> str:
        if len(self.args) >= 3:
            missing, filepath, found, *reason = self.args
            said = f"Missing required columns: {list(missing)} (in {filepath}, which has {list(found)})"
            return "; ".join(
                [said, *reason, "name them with user_col, item_col, … or, where there is no header, with columns"]
            )
        return f"Missing required columns: {list(self.args[0]) if self.args else []}"


class NotFittedError(TimbralError, ValueError):
    """``NotFittedError()``."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "Model must be fitted before making predictions"


class DatasetNotFoundError(TimbralError, FileNotFoundError):
    """``DatasetNotFoundError(path)`` or ``DatasetNotFoundError(path, text)``; the text says what is there instead."""

    def __str__(self) -> str:
        path, *text = self.args or ("",)
        return f"No data set at {path}" + (f": {text[0]}" if text else "")


class ModelNotFoundError(TimbralError, FileNotFoundError):
    """``ModelNotFoundError(path_or_version)``."""

    def __str__(self) -> str:
        return f"No model at {self.args[0]}" if len(self.args) == 1 else super().__str__()


class ModelFileError(TimbralError, ValueError):
    """``ModelFileError(path, problem)``."""

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}" if len(self.args) == 2 else super().__str__()


class ModelStoreError(TimbralError, OSError):
    """``ModelStoreError(path, problem)``."""

    def __str__(self) -> str:
        return f"Cannot write {self.args[0]}: {self.args[1]}" if len(self.args) == 2 else super().__str__()


class HistoryError(TimbralError, OSError):
    """``HistoryError(uri, problem)``."""

    def __str__(self) -> str:
        return f"The history at {self.args[0]}: {self.args[1]}" if len(self.args) == 2 else super().__str__()


class RedisUnavailableError(TimbralError, ConnectionError):
    """``RedisUnavailableError(address, problem)``; the address is without password."""

    def __str__(self) -> str:
        return f"Redis at {self.args[0]} is not available: {self.args[1]}" if len(self.args) == 2 else super().__str__()


class RedisRefusedError(RedisUnavailableError):
    """``RedisRefusedError(address, problem)``; the problem has the server's words and what to do."""

    def __str__(self) -> str:
        return f"Redis at {self.args[0]} refuses: {self.args[1]}" if len(self.args) == 2 else super().__str__()


class RedisPermissionError(RedisUnavailableError):
    """``RedisPermissionError(address, problem)``; the problem names the command."""

    def __str__(self) -> str:
        if len(self.args) != 2:
            return super().__str__()
        return f"Redis at {self.args[0]} gives this user no permission for that: {self.args[1]}"


class TrainingError(TimbralError, RuntimeError):
    """``TrainingError(text)``."""


class PredictionError(TimbralError, RuntimeError):
    """``PredictionError(text)``."""


class JobError(TimbralError, RuntimeError):
    """``JobError(job_id, text)``."""

    def __str__(self) -> str:
        return f"Job {self.args[0]}: {self.args[1]}" if len(self.args) == 2 else super().__str__()


class TaskFailedError(JobError):
    """``TaskFailedError(job_id, text)``; the text is the foreign error's class and message."""


class JobCancelledError(JobError):
    """``JobCancelledError(job_id, text)``."""


class DeadLetterError(JobError):
    """``DeadLetterError(job_id, text)``; the text is the reason for parking."""


class JobTimeoutError(JobError, TimeoutError):
    """``JobTimeoutError(job_id, text)``."""


def error_from(name: str, args: list[Any] | tuple[Any, ...]) -> TimbralError | None:
    """The error that was stored under its class name and arguments, or None where the name is not one of ours."""
    cls = globals().get(name) if name in __all__ else None
    return cls(*args) if isinstance(cls, type) and issubclass(cls, TimbralError) else None

from __future__ import annotations

import inspect
import json
import pickle

import pytest
from celery.backends.base import Backend

from timbral import errors

ARGUMENTS: dict[str, tuple[object, ...]] = {
    "SettingsError": (["A: is wrong"],),
    "MessageError": ("train_model", [{"field": "dataset", "problem": "is required", "value": "…"}]),
    "MissingColumnsError": (["user_id"], "plays.csv", ["a", "b"]),
    "DataError": ("row 3, column rating: 'x' is not a number", "plays.csv"),
    "NotFittedError": (),
    "DatasetNotFoundError": ("plays.csv",),
    "ModelNotFoundError": ("m.pkl",),
}
CLASSES = [getattr(errors, name) for name in errors.__all__ if inspect.isclass(getattr(errors, name))]


def made(cls: type[errors.TimbralError]) -> errors.TimbralError:
    two = ("first", "second")
    return cls(*ARGUMENTS.get(cls.__name__, two if "," in (cls.__doc__ or "").split(")")[0] else ("text",)))


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_the_result_backend_with_its_class_arguments_and_text(cls: type[errors.TimbralError]) -> None:
    error = made(cls)
    backend = Backend(app=__import__("celery").Celery(set_as_current=False))

    stored = json.loads(json.dumps(backend.prepare_exception(error, serializer="json")))
    back = errors.error_from(stored["exc_type"], stored["exc_message"])

    assert type(back) is cls
    assert str(back) == str(error)
    assert str(error)
    rebuilt = backend.exception_to_python(stored)
    assert (type(rebuilt), str(rebuilt)) == (cls, str(error))


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_pickling(cls: type[errors.TimbralError]) -> None:
    error = made(cls)

    back = pickle.loads(pickle.dumps(error))

    assert (type(back), str(back), back.args) == (cls, str(error), error.args)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not errors.TimbralError])
def test_an_error_is_also_the_builtin_that_callers_expect(cls: type[errors.TimbralError]) -> None:
    assert issubclass(cls, errors.TimbralError)
    assert issubclass(cls, (ValueError, OSError, RuntimeError))


def test_the_drawn_tree_names_every_error() -> None:
    tree = (errors.__doc__ or "").split("\n\n")[1]

    assert [cls.__name__ for cls in CLASSES if cls.__name__ not in tree] == []


def test_a_foreign_name_gives_no_error_object() -> None:
    assert errors.error_from("SystemExit", ["1"]) is None
    assert errors.error_from("error_from", ["x"]) is None


def test_the_missing_columns_are_named_and_only_those() -> None:
    assert str(errors.MissingColumnsError(["user_id"])) == "Missing required columns: ['user_id']"

"""Writes docs/reference.md from the code: ``python -m tools.reference``. A test fails when the file is not what this
gives."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from timbral import errors
from timbral.config.settings import Constants, Settings
from timbral.keys import KEYS
from timbral.messages import ANSWERS, MESSAGES, Play

TARGET = Path(__file__).parent.parent / "docs" / "reference.md"

INTRODUCTION = """# Reference

Every setting, key, message and error. This file is made from the code by `python -m tools.reference`; a test compares the two.
"""


def reference() -> str:
    """The whole text of docs/reference.md."""
    parts = [
        INTRODUCTION,
        settings_section(),
        keys_section(),
        messages_section(),
        errors_section(),
        constants_section(),
    ]
    return "\n".join(parts)


def settings_section() -> str:
    lines = [
        "## Settings",
        "",
        "Read from the environment and from `.env` in the working folder, once, at start-up.",
        "",
    ]
    lines += ["| name | default | what it is |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {_default(field)} | {_cell(field.description)} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def keys_section() -> str:
    lines = ["## Keys in Redis", "", inspect.getdoc(inspect.getmodule(KEYS[0])) or "", ""]
    lines += ["| key | type | holds | lives |", "|---|---|---|---|"]
    lines += [f"| `{key.name}` | {key.type} | {_cell(key.content)} | {key.ttl} |" for key in KEYS]
    return "\n".join(lines) + "\n"


def messages_section() -> str:
    lines = ["## Tasks", ""]
    lines += [
        "Send one with `producers`, with the HTTP API, or with any Celery app: "
        '`app.send_task("train_model", kwargs={"dataset": "plays.csv"})`. Arguments are flat keywords. '
        "Both ends check them; a wrong one is a `MessageError` that lists each bad field, and nothing is done.",
        "",
        'An id is a 64-bit int or a string of 1 to 512 characters; `1` and `"1"` are two ids.',
        "",
    ]
    for name, message in MESSAGES.items():
        lines += [f"### `{name}`", "", inspect.getdoc(message) or "", "", "| argument | type | default | what it is |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| `{field_name}` | {_type(field.annotation)} | {_default(field)} | {_cell(field.description)} |"
            for field_name, field in message.model_fields.items()
        ]
        lines += ["", "Answers: " + ", ".join(f"`{field}`" for field in ANSWERS[name]) + ".", ""]
    fields = ", ".join(f"`{name}`: {_type(field.annotation)}" for name, field in Play.model_fields.items())
    return "\n".join([*lines, f"A `Play` is {{{fields}}}.", ""])


def errors_section() -> str:
    tree = (errors.__doc__ or "").split("\n\n")
    lines = ["## Errors", "", tree[0], "", "```", *inspect.cleandoc(tree[1]).splitlines(), "```", ""]
    lines += ["| class | takes |", "|---|---|"]
    for name in errors.__all__:
        thing = getattr(errors, name)
        if inspect.isclass(thing):
            lines.append(f"| `{name}` | {_cell(inspect.getdoc(thing))} |")
    return "\n".join(lines) + "\n"


def constants_section() -> str:
    lines = ["## Constants", "", "The same everywhere; `timbral.config.settings.Constants`.", ""]
    lines += ["| name | value |", "|---|---|"]
    lines += [f"| `{name}` | `{value!r}` |" for name, value in vars(Constants).items() if name.isupper()]
    return "\n".join(lines) + "\n"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("``", "`").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    return "unset" if value is None else f"`{str(value) if isinstance(value, Path) else value!r}`"


def _type(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    arguments = get_args(annotation)
    if not arguments:
        return str(getattr(annotation, "__name__", annotation))
    name = str(get_origin(annotation))
    if "Literal" in name:
        return " or ".join(f'`"{value}"`' for value in arguments)
    if "Annotated" in name:
        return _type(arguments[0])
    if get_origin(annotation) in (list, tuple):
        inner = _type(arguments[0])
        return f"list of {'ids' if inner == 'int or str' else inner}"
    return " or ".join(_type(argument) for argument in arguments if argument is not type(None))


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(reference(), encoding="utf-8")

"""``timbral models``: the versions of the model, and which of them is live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producers.connections import connections
from timbral.cli.output import AsJson, hint, print_answer, print_json, print_table
from timbral.config.settings import settings
from timbral.errors import ModelFileError
from timbral.extras import require

if TYPE_CHECKING:
    from timbral.versions.model_store import ModelStore

__all__ = ["register"]

models = typer.Typer(
    no_args_is_help=True,
    help="List, show, promote, roll back and prune model versions. Needs MODEL_DIR and the worker extra.",
)
Version = Annotated[str, typer.Argument(help="A version, as timbral models list shows it.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.add_typer(models, name="models", rich_help_panel="Operate")
    application.command(rich_help_panel="Operate")(report)


@contextmanager
def _store() -> Iterator[ModelStore]:
    require("timbral models", "worker")
    from timbral.versions.model_store import ModelStore  # it loads numpy, which the thin install has not

    with connections().asking() as client:
        yield ModelStore(client, settings.MODEL_DIR)


@models.command("list")
def list_versions(as_json: AsJson = False) -> None:
    """List the versions, the newest training first: when, on what, how good, and what the gate said.

    $ timbral models list
    """
    with _store() as store:
        records = store.list()
    if as_json:
        print_json(records)
        return
    columns = ["version", "live", "trained", "data set", "users", "recall", "ndcg", "verdict"]
    print_table(
        columns, [[_field(record, name) for name in columns] for record in records], whole=["version", "verdict"]
    )


@models.command()
def show(version: Version, as_json: AsJson = False) -> None:
    """Show everything that is known of a version.

    $ timbral models show 20260101T120000-7
    """
    with _store() as store:
        record = store.show(version)
    print_json(record) if as_json else print_answer(record)


@models.command()
def compare(
    first: Version,
    second: Version,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Length of the lists that are compared.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Compare two versions: metrics with their standard errors, parameters that differ, how much their lists have in
    common.

    $ timbral models compare 20260101T120000-7 20260102T120000-8
    """
    with _store() as store:
        from timbral.logic.model_comparison import compare_versions

        found = compare_versions(store.get(first), store.get(second), top_k=top_k)
    if as_json:
        print_json(found)
        return
    rows = [
        [name, *(_with_error(*pair) for pair in zip(both["values"], both["errors"], strict=True)), both["differs"]]
        for name, both in found["metrics"].items()
    ]
    print_table(["metric", first, second, "differs"], rows)
    if not found["same_rows"]:
        hint("Measured on other rows or other data: the metrics say more of the data than of the models.")
    if found["parameters"]:
        print_table(["parameter", first, second], [[name, *both] for name, both in found["parameters"].items()])
    if found["overlap"] is None:
        typer.echo("no user is known to both")
    else:
        typer.echo(
            f"lists of {top_k}: {found['overlap']:.0%} of the items are in both, {found['same_first']:.0%} have the "
            f"same in front"
            f" ({found['n_users']} users)"
        )


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if not error else f"{value:.4f} ± {error:.4f}"


@models.command()
def promote(version: Version, as_json: AsJson = False) -> None:
    """Make a version live, whatever its metrics; its file is checked first.

    $ timbral models promote 20260101T120000-7
    """
    with _store() as store:
        outcome = store.promote(version, force=True)
    _say({"version": version, "outcome": outcome}, f"{version} is live", as_json)


@models.command()
def roll_back(as_json: AsJson = False) -> None:
    """Make the version live again that was live before.

    $ timbral models roll-back
    """
    with _store() as store:
        version = store.roll_back()
    _say({"version": version}, f"{version} is live again", as_json)


@models.command()
def prune(
    keep: Annotated[
        int | None, typer.Option(help="How many of the newest versions stay; KEEP_MODELS if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove old versions; the live one, and the one to roll back to, always stay.

    $ timbral models prune --keep 3
    """
    with _store() as store:
        gone = store.prune(settings.KEEP_MODELS if keep is None else keep)
    _say({"removed": gone}, "\n".join(gone) if gone else "nothing to remove", as_json)


def report(
    version: Version,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; VERSION.html if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a version's report: one HTML file with its plots, to be mailed. Needs the api extra.

    $ timbral report 20260101T120000-7
    """
    require("timbral report", "worker", "api")
    from timbral.console.report import report as made

    with _store() as store:
        try:
            served = store.get(version)
        except ModelFileError as error:
            hint(f"timbral: the report is without what only the model knows: {error}")
            served = None
        text = made(store.redis, version, served)
    path = output or Path(f"{version}.html")
    path.write_text(text, encoding="utf-8")
    _say({"version": version, "file": str(path)}, str(path), as_json)


def _say(answer: dict[str, Any], text: str, as_json: bool) -> None:
    print_json(answer) if as_json else typer.echo(text)


COLUMNS = {"users": "n_users", "data set": "dataset", "recall": "recall@20", "ndcg": "ndcg@20"}


def _field(record: dict[str, Any], name: str) -> Any:
    if name == "trained":
        return str(record.get("created_at", "-"))[:10]
    if name == "verdict":
        return (record.get("verdict") or {}).get("outcome")
    metrics, key = record.get("metrics") or {}, COLUMNS.get(name, name)
    return record.get(key, metrics.get(key))

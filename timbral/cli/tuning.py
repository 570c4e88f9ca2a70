"""``timbral tune``: a search for the settings that rank a data set best, and what it found."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import producers
from timbral.cli.at_hand import worker_at_hand
from timbral.cli.data_options import TrainingDataOptions, with_data_options
from timbral.cli.following import sent
from timbral.cli.output import AsJson, Wait, print_table
from timbral.cli.tasks import PANEL, dataset_below

__all__ = ["register"]

BAR_WIDTH = 20


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command(rich_help_panel=PANEL)(tune)


@with_data_options
def tune(
    *,
    dataset: Annotated[
        str | None,
        typer.Argument(help="A file or folder below DATA_DIR, or a URI; the history of plays if not given."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", "-m", help="Time for trials; 30 if neither this nor --trials is given.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Most trials; as many as there is time for if not given.")] = None,
    data: TrainingDataOptions,
    history_version: Annotated[
        int | None, typer.Option(help="Version of the history's table; the newest if not given.")
    ] = None,
    half_life_days: Annotated[
        float | None, typer.Option(help="Age at which a play of the history counts half; all count alike if not given.")
    ] = None,
    random_state: Annotated[int | None, typer.Option(help="Seed; the workers' NMF_RANDOM_STATE if not given.")] = None,
    holdout: Annotated[float, typer.Option(help="Share of each user's rows that no trial sees.")] = 0.2,
    apply_play_thresholds: Annotated[
        bool, typer.Option("--apply-play-thresholds", help="Leave rows with few plays out, cap the plays of a row.")
    ] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Search for the settings that rank a data set best, over the fleet; timbral train --settings tuned uses them.

    $ timbral tune plays.parquet --minutes 30

    $ timbral tune --trials 100
    """
    with worker_at_hand(dataset, wait=wait) as data_dir:
        job = producers.enqueue_tune_model(
            None if dataset is None else dataset_below(dataset, data_dir),
            minutes=minutes,
            trials=trials,
            history_version=history_version,
            half_life_days=half_life_days,
            random_state=random_state,
            holdout=holdout,
            apply_play_thresholds=apply_play_thresholds,
            **data.arguments(),
        )
        sent(job, wait=wait, as_json=as_json, show_answer=show_found)


def show_found(answer: dict[str, Any]) -> None:
    """What a search found: the settings beside the defaults with what mattered, the figures, and what becomes of it."""
    shares = answer["importances"]
    most = max(shares.values(), default=0.0)
    names = [*shares, *(name for name in answer["defaults"] if name not in shares)]
    columns = ["setting", "defaults", "best", "mattered", ""]
    rows = [
        [
            name,
            _short(answer["defaults"].get(name)),
            _short(answer["tried"].get(name)),
            f"{100 * shares[name]:.0f} %" if name in shares else "",
            "█" * round(BAR_WIDTH * shares.get(name, 0.0) / most) if most else "",
        ]
        for name in names
    ]
    print_table(columns, rows, whole=columns[:4])
    typer.echo("")
    quality, measures = answer["quality"], list(answer["quality"]["defaults"])
    figures = [
        [which, *(f"{quality[which][measure]:.4f}" for measure in measures)]
        for which in ("defaults", "tuned")
        if which in quality
    ]
    print_table([f"on {answer['n_users']} users' unseen rows", *measures], figures)
    typer.echo("")
    ended = ", ".join(f"{n} {how}" for how, n in answer["trials"].items())
    typer.echo(f"{answer['outcome']}: {answer['reason']}")
    typer.echo(f"{sum(answer['trials'].values())} trials ({ended}) in {answer['durations_s']['trials'] / 60:.1f} min")
    if answer["outcome"] == "better":
        where = "" if answer["dataset"] is None else f" {answer['dataset']}"
        typer.echo(f"Use them: timbral train{where} --settings tuned")


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}"

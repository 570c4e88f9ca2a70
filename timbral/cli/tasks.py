"""``timbral train``, ``recommend`` and ``refresh``: the three tasks, sent as any app sends them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

import producers
from timbral.cli.at_hand import worker_at_hand
from timbral.cli.data_options import TrainingDataOptions, with_data_options
from timbral.cli.following import sent
from timbral.cli.item_sets import Allow, Exclude
from timbral.cli.lists import preview
from timbral.cli.output import AsJson, TextIds, Wait, parsed_id
from timbral.errors import ParameterError

__all__ = ["dataset_below", "parsed_play", "register"]

PANEL = "Tasks"
MODEL = "The model (see docs/engine.md; NMFModel's defaults if not given)"

TopK = Annotated[int, typer.Option("--top-k", "-k", help="Items in a list.")]
Users = Annotated[list[str] | None, typer.Option("--user", "-u", help="A user's original id; may be given many times.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.command(rich_help_panel=PANEL)(train)
    application.command(rich_help_panel=PANEL)(recommend)
    application.command(rich_help_panel=PANEL)(refresh)


@with_data_options
def train(
    *,
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="A file or folder below DATA_DIR (its path there, or the path from here), or a URI like s3://…; "
            "the history of plays if not given."
        ),
    ] = None,
    data: TrainingDataOptions,
    history_version: Annotated[
        int | None, typer.Option(help="Version of the history's table, to repeat a training; the newest if not given.")
    ] = None,
    half_life_days: Annotated[
        float | None, typer.Option(help="Age at which a play of the history counts half; all count alike if not given.")
    ] = None,
    n_components: Annotated[
        int | None, typer.Option(help="Factors; the workers' NMF_N_COMPONENTS if not given.")
    ] = None,
    random_state: Annotated[int | None, typer.Option(help="Seed; the workers' NMF_RANDOM_STATE if not given.")] = None,
    max_iter: Annotated[int | None, typer.Option(help="Maximum number of sweeps.")] = None,
    tol: Annotated[float | None, typer.Option(help="Relative fall of the root of the loss to stop at.")] = None,
    settings_from: Annotated[
        str, typer.Option("--settings", help="defaults, or tuned: what timbral tune has found for this data set.")
    ] = "defaults",
    holdout: Annotated[float, typer.Option(help="Share of each user's rows held out for the metrics.")] = 0.2,
    apply_play_thresholds: Annotated[
        bool, typer.Option("--apply-play-thresholds", help="Leave rows with few plays out, cap the plays of a row.")
    ] = False,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Start from the live model's factors: fewer sweeps.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(help="Who does the sweeps: local, fleet, ray or spark; the trainer's TRAIN_ENGINE if not given."),
    ] = None,
    promote: Annotated[str, typer.Option(help="Go live if_not_worse, always or never.")] = "if_not_worse",
    regularization: Annotated[
        float | None, typer.Option(help="κ; chosen on a part of the data if not given.", rich_help_panel=MODEL)
    ] = None,
    unobserved_weight: Annotated[
        float | None,
        typer.Option(help="α₀, of what was not observed; by the density if not given.", rich_help_panel=MODEL),
    ] = None,
    unobserved_target: Annotated[
        float | None, typer.Option(help="μ, aimed at where nothing was observed.", rich_help_panel=MODEL)
    ] = None,
    popularity_exponent: Annotated[
        float | None, typer.Option(help="β, how much more popular items weigh.", rich_help_panel=MODEL)
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="How much an entry's weight grows with its plays.", rich_help_panel=MODEL)
    ] = None,
    regularization_exponent: Annotated[
        float | None, typer.Option(help="ν, growth of the regularization with entries.", rich_help_panel=MODEL)
    ] = None,
    n_neighbors: Annotated[
        int | None, typer.Option(help="Most items that speak for an item; 0 for none.", rich_help_panel=MODEL)
    ] = None,
    neighbor_weight: Annotated[
        float | None, typer.Option(help="γ; chosen on a part of the data if not given.", rich_help_panel=MODEL)
    ] = None,
    neighbor_regularization: Annotated[
        float | None, typer.Option(help="λ; 3 if not given.", rich_help_panel=MODEL)
    ] = None,
    neighbor_play_exponent: Annotated[
        float | None, typer.Option(help="e, how much plays count among co-plays.", rich_help_panel=MODEL)
    ] = None,
    recency_weight: Annotated[
        float | None, typer.Option(help="ρ, for data with times; chosen if not given.", rich_help_panel=MODEL)
    ] = None,
    l1_regularization: Annotated[float | None, typer.Option(help="Of all factors.", rich_help_panel=MODEL)] = None,
    target: Annotated[
        str | None, typer.Option(help="one, log or value: what is aimed at.", rich_help_panel=MODEL)
    ] = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    r"""Train a model on the history of plays, or on a data set; promote it unless it is worse than the live one.

    $ timbral train

    $ timbral train plays.parquet

    $ timbral train lastfm.dat

    $ timbral train lastfm.dat --separator tab --user-col userID --item-col artistID --value-col weight

    $ timbral train ratings.csv --repeats last --on-missing drop

    $ timbral train s3://plays/2024.parquet --promote never --no-wait

    $ timbral train plays.parquet --promote never --regularization 0.3 --unobserved-target 0.1

    $ timbral train plays.parquet --settings tuned
    """
    # The message checks them, and says what they may be.
    words: dict[str, Any] = {
        "promote": promote,
        "engine": engine,
        "target": target,
        "settings": settings_from,
    }
    with worker_at_hand(dataset, wait=wait) as data_dir:
        job = producers.enqueue_train_model(
            None if dataset is None else dataset_below(dataset, data_dir),
            history_version=history_version,
            half_life_days=half_life_days,
            n_components=n_components,
            random_state=random_state,
            max_iter=max_iter,
            tol=tol,
            holdout=holdout,
            apply_play_thresholds=apply_play_thresholds,
            warm_start=warm_start,
            regularization=regularization,
            unobserved_weight=unobserved_weight,
            unobserved_target=unobserved_target,
            popularity_exponent=popularity_exponent,
            confidence=confidence,
            regularization_exponent=regularization_exponent,
            n_neighbors=n_neighbors,
            neighbor_weight=neighbor_weight,
            neighbor_regularization=neighbor_regularization,
            neighbor_play_exponent=neighbor_play_exponent,
            recency_weight=recency_weight,
            l1_regularization=l1_regularization,
            **data.arguments(),
            **words,
        )
        sent(job, wait=wait, as_json=as_json)


def recommend(
    user: Users = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Print the lists of this version, live or not, for the users named; the cache stays as it is."
        ),
    ] = None,
    top_k: TopK = 10,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also recommend what a user has played.")
    ] = False,
    max_per_group: Annotated[
        int | None,
        typer.Option(help="Most items of one artist (items:groups); the workers' MAX_PER_GROUP if not given."),
    ] = None,
    exploration_share: Annotated[
        float | None, typer.Option(help="Share of places for items from further down; EXPLORATION_SHARE if not given.")
    ] = None,
    allow: Allow = None,
    exclude: Exclude = None,
    engine: Annotated[
        str | None, typer.Option(help="Who makes everybody's lists: fleet, ray or spark; the fleet if not given.")
    ] = None,
    text_ids: TextIds = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Write recommendations into the cache: everybody's, or those of the users named.

    $ timbral recommend

    $ timbral recommend --user 1042 --user 7 --top-k 20

    $ timbral recommend --allow jazz --exclude explicit

    $ timbral recommend --user 1042 --model 20260101T120000-7
    """
    users = [parsed_id(text, as_text=text_ids) for text in user] if user else None
    if model is not None:
        if not users:
            raise ParameterError("--model prints lists and writes none: name the users (--user ID)")
        if allow or exclude:
            raise ParameterError("--model prints lists of all items: it goes with neither --allow nor --exclude")
        options = {"max_per_group": max_per_group, "exploration_share": exploration_share}
        preview(model, users, top_k=top_k, exclude_seen=not include_seen, as_json=as_json, **options)
        return
    words: dict[str, Any] = {"engine": engine}  # the message checks it
    with worker_at_hand(wait=wait):
        job = producers.enqueue_compute_recommendations(
            user_ids=users,
            top_k=top_k,
            exclude_seen=not include_seen,
            max_per_group=max_per_group,
            exploration_share=exploration_share,
            allow=allow,
            exclude=exclude,
            **words,
        )
        sent(job, wait=wait, as_json=as_json)


def refresh(
    user: Users = None,
    play: Annotated[
        list[str] | None,
        typer.Option(
            "--play", "-p", help="A new play: USER,ITEM or USER,ITEM,PLAYS or a JSON object; may be given often."
        ),
    ] = None,
    top_k: TopK = 10,
    text_ids: TextIds = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Write embeddings into the cache; for new plays, fold them in and renew the user's list.

    $ timbral refresh

    $ timbral refresh --play 1042,77 --play 1042,78,3

    $ timbral refresh --play '{"user_id": "u,1", "item_id": "spotify:track:1", "plays": 2}'
    """
    users = [parsed_id(text, as_text=text_ids) for text in user] if user else None
    plays = [parsed_play(text, as_text=text_ids) for text in play] if play else None
    with worker_at_hand(wait=wait):
        job = producers.enqueue_refresh_embeddings(user_ids=users, plays=plays, top_k=top_k)
        sent(job, wait=wait, as_json=as_json)


def dataset_below(dataset: str, data_dir: Path) -> str:
    """``dataset`` as the workers know it: a path below their data folder, or a URI as it is.

    Raises:
        ParameterError: it is a file here, outside the data folder; says what to do.
    """
    path, below = Path(dataset).expanduser(), data_dir.resolve()
    is_uri = re.match(r"^[a-z][a-z0-9+.-]+://", dataset, re.IGNORECASE)
    if is_uri or (".." not in path.parts and _lies_below(below / path, below)):
        return str((below / path).relative_to(below)) if path.is_absolute() else dataset
    if _lies_below(path, below):
        return str(path.resolve().relative_to(below))
    if _is_there(path) or path.is_absolute():
        raise ParameterError(
            f"{path} is not below the data folder {below} (DATA_DIR): copy it there and run timbral train "
            f"{quote(path.name)}, or set DATA_DIR={quote(str(path.resolve().parent))} for the workers and this command"
        )
    return dataset  # no file of this machine; the workers may have one


def _lies_below(path: Path, folder: Path) -> bool:
    return _is_there(path) and path.resolve().is_relative_to(folder)


def _is_there(path: Path) -> bool:
    """Also of a path in a folder that this user may not look into: whoever reads it says so."""
    try:
        return path.exists()
    except PermissionError:
        return True


def parsed_play(text: str, *, as_text: bool, what: str = "--play") -> dict[str, Any]:
    """A play from the command line.

    Raises:
        ParameterError: it is not USER,ITEM or USER,ITEM,PLAYS or a JSON object.
    """
    problem = ParameterError(f"{what} must be USER,ITEM or USER,ITEM,PLAYS or a JSON object, got {text!r}")
    if text.startswith("{"):
        try:
            read: Any = json.loads(text)
        except ValueError:
            raise problem from None
        return dict(read)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3) or not all(parts):
        raise problem
    play: dict[str, Any] = {
        "user_id": parsed_id(parts[0], as_text=as_text),
        "item_id": parsed_id(parts[1], as_text=as_text),
    }
    if len(parts) == 3:
        try:
            play["plays"] = float(parts[2])
        except ValueError:
            raise problem from None
    return play

"""``timbral dead-letters``: messages that were parked because they killed their worker, or were no messages at all."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import redis
import typer

from producers.connections import connections
from timbral import keys
from timbral.cli.output import AsJson, ago, print_answer, print_json, print_table
from timbral.cli.short_ids import shortened, whole_id
from timbral.errors import ParameterError
from timbral.queue import dead_letters as letters
from timbral.redis_server.replies import server_now_s, text

__all__ = ["register"]

dead_letters = typer.Typer(
    name="dead-letters", no_args_is_help=True, help="Messages that were parked: list, show, send again, delete."
)
LetterIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of the letters, or their beginnings.")
]
All = Annotated[bool, typer.Option("--all", help="All letters that can be.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.add_typer(dead_letters, name="dead-letters", rich_help_panel="Operate")


@dead_letters.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50, as_json: AsJson = False
) -> None:
    """List the parked messages, the newest first.

    $ timbral dead-letters list
    """
    with connections().asking(results=True) as client:
        found, short = letters.list_letters(client, limit), shortened(_ids(client))
        now = server_now_s(client)
    if as_json:
        print_json([_record(letter) for letter in found])
        return
    columns = ["id", "kind", "task", "tries", "age", "reason"]
    rows = [
        [short[one.letter_id], one.kind, one.task, one.deliveries, ago(max(0.0, now - one.parked_at)), one.reason[:80]]
        for one in found
    ]
    print_table(columns, rows, title=f"{len(found)} of {len(short)} dead letters", whole=columns[:5])


@dead_letters.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")],
    as_json: AsJson = False,
) -> None:
    """Show one parked message, with its arguments and the reason.

    $ timbral dead-letters show 0e6a7d3c-…
    """
    with connections().asking(results=True) as client:
        record = _record(letters.show(client, _whole(client, letter_id)))
    print_json(record) if as_json else print_answer(record)


@dead_letters.command()
def send_again(letter_ids: LetterIds = None, every: All = False, as_json: AsJson = False) -> None:
    """Put messages back into their queues, as if they were new.

    $ timbral dead-letters send-again 0e6a7d3c-…

    $ timbral dead-letters send-again --all
    """
    with connections().asking(results=True) as client:
        chosen = [_whole(client, letter_id) for letter_id in letter_ids or []]
        if every:
            chosen = [
                letter.letter_id for letter in letters.list_letters(client, letters.count(client)) if letter.can_be_sent
            ]
        _check_chosen(letter_ids, every)
        sent = [letters.send_again(client, letter_id) for letter_id in chosen]
    print_json({"sent": sent}) if as_json else typer.echo(f"sent {len(sent)} again")


@dead_letters.command()
def delete(letter_ids: LetterIds = None, every: All = False, as_json: AsJson = False) -> None:
    """Throw parked messages away.

    $ timbral dead-letters delete 0e6a7d3c-…
    """
    with connections().asking(results=True) as client:
        _check_chosen(letter_ids, every)
        chosen = [_whole(client, letter_id) for letter_id in letter_ids] if letter_ids else _ids(client)
        unknown = [letter_id for letter_id in chosen if not letters.delete(client, letter_id)]
    if unknown and not every:
        raise ParameterError(
            f"No dead letter {', '.join(unknown)}; timbral dead-letters list shows those that there are"
        )
    deleted = len(chosen) - len(unknown)
    print_json({"deleted": deleted}) if as_json else typer.echo(f"deleted {deleted}")


def _ids(client: redis.Redis) -> list[str]:
    return [text(letter_id) for letter_id in client.zrevrange(keys.DEAD_LETTERS, 0, -1)]


def _whole(client: redis.Redis, beginning: str) -> str:
    return whole_id(beginning, _ids(client), "dead letter")


def _check_chosen(letter_ids: list[str] | None, every: bool) -> None:
    if bool(letter_ids) == every:
        raise ParameterError("say which letters, by their ids, or --all")


def _record(letter: letters.Letter) -> dict[str, Any]:
    record = asdict(letter)
    return record | {
        "body": letter.body.decode(errors="replace"),
        "parked_at": _time(letter),
        "can_be_sent": letter.can_be_sent,
    }


def _time(letter: letters.Letter) -> str:
    return datetime.fromtimestamp(letter.parked_at, UTC).isoformat(timespec="seconds")

"""A job that a command has sent, followed to its answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import producers
from producers.connections import connections
from timbral.cli.at_hand import is_at_hand
from timbral.cli.output import hint, print_answer, print_json
from timbral.errors import TimbralError
from timbral.queue.fleet_state import alive_workers

__all__ = ["follow", "sent"]

NO_WORKER_AFTER_S: Final = 3.0
"""A worker that has just started may not have said yet that it is there."""


def sent(
    job: producers.Job,
    *,
    wait: bool,
    as_json: bool,
    show_answer: Callable[[dict[str, Any]], None] = print_answer,
) -> None:
    """What a command does that has sent a task: follow it to its answer, or say its id."""
    if wait:
        follow(job, as_json=as_json, show_answer=show_answer)
    elif as_json:
        print_json({"job_id": job.id, "task": job.task, "state": "PENDING"})
    else:
        typer.echo(job.id)
        hint(f"Sent {job.task}. To see how it is: timbral job status {job.id}")


def follow(
    job: producers.Job,
    *,
    as_json: bool,
    timeout_s: float | None = None,
    show_answer: Callable[[dict[str, Any]], None] = print_answer,
) -> None:
    """Wait for a job with a progress bar, and print its answer, for people as ``show_answer`` does.

    Raises:
        TimbralError: the job failed; its own error.
        typer.Exit: Ctrl-C; the job goes on, unless its worker ends with us: then it is cancelled.
    """
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    doubting = threading.Timer(NO_WORKER_AFTER_S, _say_where_no_worker_is, [job, console])
    doubting.daemon = True
    doubting.start()
    try:
        with bar:
            line = bar.add_task(job.task or "job", total=None, text="waiting for a worker")

            def show(state: str, progress: producers.Progress) -> None:
                words = progress.text or ("waiting for a worker" if state == "PENDING" else state.lower())
                bar.update(line, total=progress.total or None, completed=progress.done, text=words)

            answer = job.wait(timeout_s, on_progress=show)
    except KeyboardInterrupt:
        if is_at_hand():
            job.cancel()
            hint("Cancelled: the worker was started for this command, and ends with it")
        else:
            hint(f"Not waiting any longer; the job goes on. timbral job wait {job.id} | timbral job cancel {job.id}")
        raise typer.Exit(130) from None
    finally:
        doubting.cancel()
    if as_json:
        print_json({"job_id": job.id, **answer})
    else:
        show_answer({"job_id": job.id, **answer})


def _say_where_no_worker_is(job: producers.Job, console: Console) -> None:
    with contextlib.suppress(TimbralError), connections().asking(results=True) as client:
        if job.state == "PENDING" and not alive_workers(client):
            console.print(
                "timbral: no worker takes tasks now; the job waits for one: timbral up, or celery -A workers.app "
                "worker",
                highlight=False,
                soft_wrap=True,
            )

"""``timbral job``: the tasks that were sent, by their ids."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import producers
from timbral.cli.output import AsJson, follow, hint, print_answer, print_json
from timbral.errors import TimbralError

__all__ = ["register"]

jobs = typer.Typer(no_args_is_help=True, help="How a job is, waiting for it, cancelling it.")
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, as --no-wait, Flower and the logs say it.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.add_typer(jobs, name="job", rich_help_panel="Tasks")


@jobs.command()
def status(job_id: JobId, as_json: AsJson = False) -> None:
    """Say how a job is. An id that nobody knows is PENDING.

    $ timbral job status 0e6a7d3c-…
    """
    job = producers.job(job_id)
    done, total, text = job.progress
    report: dict[str, Any] = {
        "job_id": job.id,
        "task": job.task,
        "state": job.state,
        "done": done,
        "total": total,
        "text": text,
        "result": None,
        "error": None,
    }
    if job.done:
        try:
            report["result"] = job.result
        except TimbralError as error:
            report["error"] = str(error)
    if as_json:
        print_json(report)
    else:
        print_answer({name: value for name, value in report.items() if value not in (None, "")})


@jobs.command()
def wait(
    job_id: JobId,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most.")] = None,
    as_json: AsJson = False,
) -> None:
    """Wait for a job and print its answer; exit code 1 where it failed or is not done in time.

    $ timbral job wait 0e6a7d3c-… --timeout 600
    """
    follow(producers.job(job_id), as_json=as_json, timeout_s=timeout)


@jobs.command()
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Have the fleet drop a job: it is not begun if it waits, and ends at its next step if it runs.

    $ timbral job cancel 0e6a7d3c-…
    """
    cancelled = producers.job(job_id).cancel()
    if as_json:
        print_json({"job_id": job_id, "cancelled": cancelled})
    elif cancelled:
        typer.echo(f"{job_id} is being cancelled")
    else:
        hint(f"timbral: {job_id} had ended before")
    if not cancelled:
        raise typer.Exit(1)

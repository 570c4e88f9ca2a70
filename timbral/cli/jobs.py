"""``timbral job``: the tasks that were sent, by their ids."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import producers
from timbral.cli.following import follow
from timbral.cli.open_jobs import OpenJob, open_jobs, whole_job_id
from timbral.cli.output import AsJson, ago, hint, print_answer, print_json, print_table
from timbral.cli.short_ids import shortened
from timbral.errors import ParameterError, TimbralError

__all__ = ["register"]

jobs = typer.Typer(no_args_is_help=True, help="The jobs that are not done, how one is, waiting for it, cancelling it.")
JobId = Annotated[
    str, typer.Argument(metavar="ID", help="The job's id, as --no-wait, Flower and the logs say it, or its beginning.")
]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.add_typer(jobs, name="job", rich_help_panel="Tasks")


@jobs.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50, as_json: AsJson = False
) -> None:
    """List the jobs that are not done, the newest first. Those that are: timbral job status ID, and Flower.

    $ timbral job list
    """
    found = open_jobs()
    listed = [(job, producers.job(job.id)) for job in found[:limit]]
    if as_json:
        print_json([job._asdict() | {"state": known.state, **known.progress._asdict()} for job, known in listed])
        return
    short = shortened([job.id for job in found])
    rows = [
        [short[job.id], job.task, known.state.lower(), ago(job.age_s), known.progress.text or _said(job)]
        for job, known in listed
    ]
    columns = ["id", "task", "state", "age", "progress"]
    print_table(columns, rows, title=f"{len(listed)} of {len(found)} jobs that are not done", whole=columns[:4])


def _said(job: OpenJob) -> str:
    return " ".join(f"{name}={value}" for name, value in job.arguments.items() if isinstance(value, str | int | float))


@jobs.command()
def status(job_id: JobId, as_json: AsJson = False) -> None:
    """Show the state of a job. An id that nobody knows is PENDING.

    $ timbral job status 0e6a7d3c-…
    """
    job = producers.job(whole_job_id(job_id))
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
    job = producers.job(whole_job_id(job_id))
    if not job.is_known:
        hint(f"timbral: nothing is known of {job.id}: sent by another app, expired, or never sent")
    follow(job, as_json=as_json, timeout_s=timeout)


@jobs.command()
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job: it is not begun if it waits, and ends at its next step if it runs.

    $ timbral job cancel 0e6a7d3c-…
    """
    job = producers.job(whole_job_id(job_id))
    if not job.is_known:
        raise ParameterError(f"No job {job_id!r}: it was never sent, or its result has expired")
    cancelled = job.cancel()
    if as_json:
        print_json({"job_id": job.id, "cancelled": cancelled})
    elif cancelled:
        typer.echo(f"{job.id} is being cancelled")
    else:
        hint(f"timbral: {job.id} had ended before")
    if not cancelled:
        raise typer.Exit(1)

"""The commands put together, and what becomes of their errors."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from redis.exceptions import RedisError

import timbral
from timbral import logs
from timbral.cli import (
    dead_letters,
    doctor,
    item_sets,
    jobs,
    models,
    names,
    one_line,
    operating,
    plays,
    privacy,
    programs,
    queue,
    reading,
    tasks,
    tuning,
)
from timbral.cli.output import AsJson, print_json
from timbral.config.settings import public_address, settings
from timbral.errors import (
    DataError,
    DatasetNotFoundError,
    ModelNotFoundError,
    ParameterError,
    RedisPermissionError,
    RedisRefusedError,
    RedisUnavailableError,
    SettingsError,
    TimbralError,
)
from timbral.redis_server.refusals import as_ours

__all__ = ["application", "run"]

FAILED: Final = 1
BAD_INPUT: Final = 2
REDIS_AWAY: Final = 3
_BAD_INPUT_ERRORS: Final = (SettingsError, ParameterError, DataError, DatasetNotFoundError, ModelNotFoundError)

application = typer.Typer(
    name="timbral",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""A recommender for listening data that lives behind a queue.

Tasks are sent to the fleet's workers through Redis (REDIS_URL, BROKER_URL, REDIS_PASSWORD; also from .env);
reading needs no worker.

[bold]From nothing to a user's list[/bold]

$ timbral train plays.csv  [dim]# learn from DATA_DIR/plays.csv[/dim]

$ timbral recommend  [dim]# write everybody's list[/dim]

$ timbral show 1042  [dim]# what user 1042 gets[/dim]

[bold]Exit codes[/bold]  0 done · 1 the task failed, or something went wrong · 2 bad input ·
3 Redis is unreachable or refuses · 130 Ctrl-C""",
)
tasks.register(application)
tuning.register(application)
plays.register(application)
reading.register(application)
privacy.register(application)
jobs.register(application)
models.register(application)
dead_letters.register(application)
queue.register(application)
operating.register(application)
doctor.register(application)
names.register(application)
item_sets.register(application)
programs.register(application)


@application.command(rich_help_panel="Operate")
def version(as_json: AsJson = False) -> None:
    """Show the version."""
    if as_json:
        print_json({"version": timbral.__version__})
    else:
        typer.echo(timbral.__version__)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(timbral.__version__)
        raise typer.Exit


@application.callback()
def _root(
    _debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and logs; may stand anywhere.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None: ...


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors become one line on stderr and an exit code."""
    debug = "--debug" in arguments
    left = [argument for argument in arguments if argument != "--debug"]
    _open_output()
    logs.configure(debug=debug)
    if not debug:
        logging.getLogger().setLevel(logging.CRITICAL)
    try:
        code = application(args=left, prog_name="timbral", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has seen enough: `timbral … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            raise
        return _report(error)
    return code if isinstance(code, int) else 0


def _open_output() -> None:
    """Output that takes every text: an id that the terminal's encoding has not is escaped; a closed one is no error."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _report(error: Exception) -> int:
    code, text = _explained(error)
    print(one_line(text), file=sys.stderr)
    return code


def _explained(error: Exception) -> tuple[int, str]:
    if isinstance(error, typer.Abort):
        return FAILED, "not confirmed; nothing was done"
    usage = getattr(error, "format_message", None)  # typer's own errors, whose module has moved between its versions
    if usage is not None:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return BAD_INPUT, f"{usage()}{hint}"
    if isinstance(error, RedisError):
        error = as_ours(public_address(settings.redis_url), error)
    if isinstance(error, RedisPermissionError):
        return FAILED, str(error)
    if isinstance(error, RedisRefusedError):
        return REDIS_AWAY, str(error)
    if isinstance(error, RedisUnavailableError):
        is_said = "timbral up" in str(error) or settings.REDIS_URL is not None or settings.BROKER_URL is not None
        return REDIS_AWAY, str(error) if is_said else f"{error} timbral up, in another terminal, starts one"
    if isinstance(error, TimbralError):
        return BAD_INPUT if isinstance(error, _BAD_INPUT_ERRORS) else FAILED, str(error)
    return FAILED, f"{type(error).__name__}: {error} (timbral --debug … shows where)"

"""What all commands share: how errors end, how examples and options look."""

from __future__ import annotations

import inspect
import logging
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import psycopg

from trueup.core.errors import FREE_DISK, TrueupError, first_line

Command = TypeVar("Command", bound=Callable[..., Any])

LITTLE_DISK = 64 * 1024**2  # bytes; PostgreSQL extends its log by a quarter of it

FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
LIMIT = click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Rows to show; 0 = all.",
)
YES = click.option("--yes", is_flag=True, help="Do not ask.")


# psycopg tells of a pipeline that ends with an error; we tell of the error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class Group(click.Group):
    """A group whose commands end with one clear message and exit code 2 in case of an error."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except TrueupError as error:
            _stop(error.message, error.remedy)
        except psycopg.errors.DiskFull as error:
            _stop(first_line(error), FREE_DISK)
        except psycopg.Error as error:
            _stop(*_refused(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _stop(f"{where}{error.strerror or error}", None)


def examples(text: str) -> Callable[[Command], Command]:
    """Add an EXAMPLES section below a command's help, its lines kept as they are."""

    def decorate(command: Command) -> Command:
        # cleandoc: up to Python 3.12 a docstring carries the indentation of its source
        lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n\b\nExamples:\n{lines}"
        return command

    return decorate


def settings() -> Any:
    """What the environment says; read when a command runs, not when help is asked for."""
    from trueup import local

    return local.load_settings()


def ask(yes: bool, question: str) -> None:
    """Go on only after a yes; TrueupError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise TrueupError(
            f"nobody is there to answer: {question}", "Give --yes if that is what you want."
        )
    if not click.confirm(question, default=False):
        raise TrueupError("nothing was changed: the answer was no")


def _refused(error: psycopg.Error) -> tuple[str, str]:
    """Message and remedy; a server that went down may have had no disk left to say why."""
    from trueup.local import server

    message = f"the database refused: {first_line(error)}"
    home = server.home(settings().state)
    if (home / "pgdata").exists() and shutil.disk_usage(home).free < LITTLE_DISK:
        free = shutil.disk_usage(home).free // server.MEGABYTE
        return (f"{message}; {home} has only {free} MB free", FREE_DISK)
    return (message, "Run `trueup doctor`.")


def _stop(message: str, remedy: str | None) -> None:
    click.echo(f"Error: {message}", err=True)
    if remedy:
        click.echo(remedy, err=True)
    sys.exit(2)

"""Shared parts of all commands: errors, examples, common options."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import psycopg

from trueup.core.errors import FREE_DISK, TrueupError, first_line

Command = TypeVar("Command", bound=Callable[..., Any])

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


# psycopg logs a pipeline that ends with an error; the error itself is printed.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class Group(click.Group):
    """A group of commands; an error prints one clear message and exits with 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except TrueupError as error:
            _stop(error.message, error.remedy)
        except psycopg.errors.DiskFull as error:
            _stop(first_line(error), FREE_DISK)
        except psycopg.Error as error:
            _stop(f"the database refused: {first_line(error)}", "Run `trueup doctor`.")
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


def options(*listed: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator; the help lists them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(listed):
            command = option(command)
        return command

    return decorate


def settings() -> Any:
    """The settings that the caller of `main` gave as its obj, else those of the environment."""
    from trueup import local

    return click.get_current_context().find_root().obj or local.load_settings()


@contextmanager
def opened(known: Any, quiet: bool = False, **how: Any) -> Iterator[tuple[Any, str]]:
    """A connection and the schema of the ledger, which is checked; the first line tells where.

    known: settings; quiet: that line goes to stderr; how: see connection.connect
    """
    from trueup.core import connection, ledger

    schema = ledger.schema(known)
    with connection.connect(known, **how) as connected:
        click.echo(connection.describe(connected, known), err=quiet)
        ledger.check(connected, schema, known)
        yield connected, schema


def ask(yes: bool, question: str) -> None:
    """Continue only after a yes; TrueupError if there is no terminal to ask on."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise TrueupError(
            f"this needs confirmation, but there is no terminal: {question}", "Re-run with --yes."
        )
    if not click.confirm(question, default=False):
        raise TrueupError("nothing was changed, because the answer was no")


def _stop(message: str, remedy: str | None) -> None:
    click.echo(f"Error: {message}", err=True)
    if remedy:
        click.echo(remedy, err=True)
    sys.exit(2)

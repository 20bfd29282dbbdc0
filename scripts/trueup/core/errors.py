"""The one exception that users are meant to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

MOST_CONTEXT = 300  # characters, the last ones: they name the trigger's function
FREE_DISK = "Free some disk space and run the command again."  # a remedy that several errors have


class TrueupError(Exception):
    """Wrong use or a wrong environment; the command line prints it on stderr and exits 2.

    message: names the thing, what was found and what is allowed; never a credential.
    remedy:  what to do about it, or None if the message says it all.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}\n{self.remedy}"


def first_line(error: psycopg.Error) -> str:
    """The database's message for an error, and its place in a trigger or function, in one line."""
    words = error.diag.message_primary or str(error).strip() or type(error).__name__
    context = " ".join((error.diag.context or "").split())[-MOST_CONTEXT:]
    return words.splitlines()[0] + (f" ({context})" if context else "")

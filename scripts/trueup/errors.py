"""The one exception that users are meant to read."""

from __future__ import annotations

FREE_DISK = "Free some disk space and run the command again."  # a remedy that several errors have


class TrueupError(Exception):
    """Wrong use or a wrong environment; the command line prints it on stderr and exits 2.

    message: names the thing, what was found and what is allowed; never a credential.
    remedy:  what to do about it, or None where the message says it all.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}\n{self.remedy}"

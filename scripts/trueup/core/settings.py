"""Settings from the environment: the project, the server, the kind of environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from trueup.core.errors import TrueupError

ENVIRONMENTS = ("development", "staging", "production")
LOG_FORMATS = ("text", "json")
# Any of these means that the caller configured a server the way psql understands it.
SERVER_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE")

_URL_REMEDY = (
    "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require with / @ : ? # % of "
    "user and password percent-encoded (@ is %40), or libpq's key=value form."
)


@dataclass(frozen=True)
class Settings:
    """Where trueup works.

    project:     folder that holds dbt_project.yml
    state:       folder of the embedded server (project/.trueup)
    environment: development, staging or production
    conninfo:    libpq connection string; "" = libpq's own environment variables;
                 None = no server configured, use the embedded one
    log_format:  text or json
    variables:   vars that stand in place of those of dbt_project.yml
    embedded:    (database or None, as the superuser?) → connection string of the embedded server,
                 which is started if it does not run; made by local.settings
    """

    project: Path
    state: Path
    environment: str
    conninfo: str | None = field(repr=False)  # holds a password
    log_format: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    embedded: Callable[[str | None, bool], str] | None = field(
        default=None, repr=False, compare=False
    )


def load(environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Settings:
    """Read the settings; raises TrueupError for a value that is not allowed."""
    project = find_project(cwd)
    return Settings(
        project=project,
        state=project / ".trueup",
        environment=_one_of(environ, "TRUEUP_ENV", ENVIRONMENTS),
        conninfo=find_conninfo(environ),
        log_format=_one_of(environ, "LOG_FORMAT", LOG_FORMATS),
    )


def find_project(cwd: Path | None = None) -> Path:
    """The nearest folder with dbt_project.yml at or above cwd, else this package's checkout."""
    try:
        start = (cwd or Path.cwd()).resolve()
    except FileNotFoundError:  # the working directory was deleted under us
        start = Path("/")
    here = Path(__file__).resolve()
    for folder in (start, *start.parents, *here.parents):
        if (folder / "dbt_project.yml").is_file():
            return folder
    raise TrueupError(
        f"no dbt_project.yml in {start} or any folder above it",
        "Change into the checkout of the dbt project and run the command again.",
    )


def find_conninfo(environ: Mapping[str, str]) -> str | None:
    """DATABASE_URL, checked; "" for libpq's own variables; None when no server is configured.

    A variable that is set to nothing counts as not set, as compose files and CI write it.
    """
    url = environ.get("DATABASE_URL", "").strip()
    if url:
        _check_url(url)
        return url
    return "" if any(environ.get(name) for name in SERVER_VARIABLES) else None


def _one_of(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = environ.get(name) or allowed[0]
    if value not in allowed:
        raise TrueupError(
            f"{name} is {value!r}; allowed are {', '.join(allowed)}",
            f"Set {name} to one of them or leave it out ({allowed[0]}).",
        )
    return value


def _check_url(url: str) -> None:
    """Refuse a string that libpq cannot parse, or that it would misread.

    libpq's own message quotes the string, and a password with an unescaped @ or / ends up in the
    host or database name, which later messages print. So the faults are told in our own words.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url)
    if scheme and scheme[1] not in ("postgresql", "postgres"):
        raise _malformed("its scheme is not postgresql:// or postgres://")
    if scheme:
        location = url[scheme.end() :]
        authority, _, path = location.partition("/")
        if authority.count("@") > 1 or "@" in path.partition("?")[0]:
            raise _malformed("it has an @ or / that is not percent-encoded")
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        # "from None": the original message quotes the string, credential included.
        raise _malformed(_fault(str(error))) from None
    for port in str(parts.get("port", "")).split(","):
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise _malformed("its port is not a number from 1 to 65535")


def _fault(libpq_message: str) -> str:
    """libpq's complaint by its kind only."""
    kinds = {
        "percent-encoded": "a % in it is not followed by two hexadecimal digits",
        "query parameter": "an option behind its ? is unknown to libpq",
        "key/value separator": "an option behind its ? has no value or more than one",
        "invalid connection option": "one of its keys is unknown to libpq",
        "IPv6": "its IPv6 address is not closed by ]",
    }
    for mark, text in kinds.items():
        if mark in libpq_message:
            return text
    return "libpq cannot parse it"


def _malformed(fault: str) -> TrueupError:
    return TrueupError(f"DATABASE_URL is malformed: {fault}", _URL_REMEDY)

"""Opens all connections."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

# Defaults of the connection string: seconds for each of its hosts, and how soon a
# network that swallows everything counts as a lost connection (seconds, and milliseconds).
WAITING = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(
    settings: Settings,
    dbname: str | None = None,
    *,
    writes: bool = True,
    autocommit: bool = False,
    application_name: str = "trueup",
    superuser: bool = False,
) -> Connection:
    """Open a connection to the configured server, else to the embedded one (started if needed).

    dbname:    another database than the configured one.
    writes:    the caller may change something. In production that needs a configured server.
    superuser: the embedded server's superuser; a configured server has none for us.

    Raises TrueupError, which names host, port, database and user, never the password.
    """
    conninfo = _conninfo(settings, dbname, writes=writes, superuser=superuser)
    parts = _resolved(conninfo)
    fixed: dict[str, Any] = {"application_name": application_name, "client_encoding": "UTF8"}
    for name, value in WAITING.items():
        if not parts.get(name):
            fixed[name] = value
    try:
        # prepare_threshold: a prepared statement would be missing on the next server connection
        # of a pooler in transaction mode.
        return psycopg.connect(conninfo, autocommit=autocommit, prepare_threshold=None, **fixed)
    except psycopg.Error as error:
        # "from None": libpq's text may quote what it was given.
        raise TrueupError(
            f"cannot connect to {_target(parts)}: {_reason(error, parts)}",
            "Run `trueup doctor`; it checks DATABASE_URL, the PG* variables and the server.",
        ) from None


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Within, everything is read from one snapshot; what was not committed is rolled back.

    A row that somebody else has changed since it began cannot be changed: the database refuses.
    """
    connection.rollback()
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        yield
    finally:
        connection.rollback()
        connection.isolation_level = None


def describe(connection: Connection, settings: Settings) -> str:
    """The first line of every command: what it works on, without a credential."""
    info = connection.info
    embedded = "embedded " if settings.conninfo is None else ""
    return " · ".join(
        (
            "trueup",
            f"{embedded}PostgreSQL {_version(info.server_version)}",
            _endpoint(info.host or info.hostaddr, str(info.port)),
            f"database {info.dbname}",
            f"role {info.user}",
            settings.environment,
        )
    )


def dbt_environment(settings: Settings, *, writes: bool = True) -> dict[str, str]:
    """The PG* variables that lead dbt to the very server that `connect` reaches.

    They are read from an open connection, so that a list of hosts or a service is decided once,
    here. Holds the password. Besides the six that the profile reads there are those that libpq
    reads by itself (certificates, channel binding, options), if the connection has them.
    """
    with connect(settings, writes=writes, autocommit=True) as connection:
        info = connection.info
        variables = {
            "PGHOST": info.host or info.hostaddr,
            "PGPORT": str(info.port),
            "PGUSER": info.user,
            "PGPASSWORD": info.password,
            "PGDATABASE": info.dbname,
            "PGSSLMODE": "prefer",
        }
        for option in connection.pgconn.info:
            name = option.envvar.decode() if option.envvar else ""
            if (
                option.val
                and option.val != option.compiled
                and re.match(r"PG(SSL|GSS|KRB|CHANNELBINDING|REQUIREAUTH|OPTIONS)", name)
            ):
                variables[name] = option.val.decode()
    return variables


def _conninfo(settings: Settings, dbname: str | None, *, writes: bool, superuser: bool) -> str:
    if settings.conninfo is not None:
        if superuser:
            raise TrueupError(
                "only the embedded PostgreSQL has a superuser connection",
                "Unset DATABASE_URL and the PG* variables to use the embedded server.",
            )
        return make_conninfo(settings.conninfo, **({"dbname": dbname} if dbname else {}))
    if writes and settings.environment == "production":
        raise TrueupError(
            "TRUEUP_ENV is production and no server is configured; the embedded PostgreSQL is "
            "not a production database, so nothing is written to it",
            "Set DATABASE_URL (or the PG* variables) to the server that is meant.",
        )
    if settings.embedded is None:
        raise TrueupError("no server is configured", "Set DATABASE_URL or the PG* variables.")
    return settings.embedded(dbname, superuser)


def _resolved(conninfo: str) -> dict[str, str]:
    """The parameters libpq will use: its defaults and environment, then the connection string."""
    parts = {
        option.keyword.decode(): option.val.decode("utf-8", "replace")
        for option in pq.Conninfo.get_defaults()
        if option.val
    }
    parts.update({name: str(value) for name, value in conninfo_to_dict(conninfo).items()})
    return parts


def _target(parts: dict[str, str]) -> str:
    hosts = parts.get("host") or parts.get("hostaddr") or "the local socket"
    user = parts.get("user", "")
    return (
        f"host {hosts}, port {parts.get('port', '')}, "
        f"database {parts.get('dbname') or user}, user {user}"
        + (f", service {parts['service']}" if parts.get("service") else "")
    )


def _reason(error: psycopg.Error, parts: dict[str, str]) -> str:
    """libpq's reason on one line: the server's own words if it said any."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    spoken = [line for line in lines if "FATAL:" in line or "ERROR:" in line]
    text = (spoken or lines or [type(error).__name__])[0]
    text = re.sub(r"^.*(?:FATAL|ERROR): +", "", text)
    text = re.sub(r"^connection (failed|is bad): ", "", text)
    text = re.sub(r"^connection to server at .*? failed: ", "", text)
    named = {parts.get(key) for key in ("host", "hostaddr", "port", "dbname", "user", "service")}
    for secret in {parts.get("password"), parts.get("sslpassword"), os.environ.get("PGPASSWORD")}:
        if secret and secret not in named:
            text = text.replace(secret, "***")
    return text


def _endpoint(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _version(number: int) -> str:
    """180006 → 18.6"""
    return f"{number // 10000}.{number % 10000}"

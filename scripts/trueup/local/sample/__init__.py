"""The sample database: a venture-capital application of any size, as messy as real ones.

`schema.sql` makes the application's tables and the schema `trueup_sample`, `spellings.csv` lists
spellings by hand with what each of them means, and `fill.sql` multiplies the spellings and writes
the rows. This module only runs them in order, in one transaction. The truth of every value is in
the views `trueup_sample.truth` and `trueup_sample.weight_truth`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import tuple_row

from trueup.core.errors import TrueupError

TABLES = (
    "funds",
    "portfoliocompanies",
    "deal_opportunities",
    "investments",
    "fund_strategy_models",
    "fund_baselines",
    "user_app_state",
)
SCHEMA = "trueup_sample"
TRUTH_TABLES = ("parameters", "base_spellings", "spellings", "stage_names", "owner_weights")
FUNCTION = "touch_row_version"
MARK = "[trueup sample]"  # how the comment of everything that schema.sql makes ends

MOST_ROWS = 2**31 - 1  # of one table; the ids of funds are int
MOST_SEED = 2**63 - 1

Connection: TypeAlias = "psycopg.Connection[Any]"
Cursor: TypeAlias = "psycopg.Cursor[tuple[Any, ...]]"
Progress: TypeAlias = Callable[[str, int, int], None]

_FOUND = """
    select 'schema ' || pg_namespace.nspname, obj_description(pg_namespace.oid, 'pg_namespace')
    from pg_catalog.pg_namespace
    where pg_namespace.nspname = %(schema)s
    union all
    select
        case pg_class.relkind
            when 'r' then 'table ' when 'p' then 'table ' when 'v' then 'view '
            when 'm' then 'materialized view ' when 'f' then 'foreign table ' else 'relation '
        end || 'public.' || pg_class.relname,
        obj_description(pg_class.oid, 'pg_class')
    from pg_catalog.pg_class
    where pg_class.relnamespace = to_regnamespace('public') and pg_class.relname = any(%(tables)s)
    union all
    select 'function ' || pg_proc.oid::regprocedure, obj_description(pg_proc.oid, 'pg_proc')
    from pg_catalog.pg_proc
    where
        pg_proc.pronamespace = to_regnamespace('public')
        and pg_proc.proname = %(function)s
        and pg_proc.pronargs = 0
    order by 1
"""


def load(
    connection: Connection,
    *,
    companies: int = 100_000,
    deals: int = 20_000,
    investments: int = 5_000,
    strategies: int = 500,
    baselines: int = 200,
    funds: int = 50,
    dirty_share: float = 0.56,
    seed: int = 1,
    cascade: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Make the sample in the connection's database and return the rows per table.

    companies ... funds: rows to write; strategies and baselines belong to funds, investments to
    companies. dirty_share: share of values in [0, 1] that are not canonical (a NULL is not).
    The same numbers make the same rows on every server. progress(step, done, total) is called
    before each step and once at the end.

    An existing sample is dropped and created again. Objects that depend on it (views) stop the
    load unless cascade is true, which drops it too. Everything is one transaction: the
    connection's own if one is open (then the caller commits), else a separate one.
    Raises TrueupError for wrong numbers, for tables of these names that are not a sample, and for
    a database or role that cannot hold one; then nothing has changed.
    """
    counts = {
        "companies": companies,
        "deals": deals,
        "investments": investments,
        "strategies": strategies,
        "baselines": baselines,
        "funds": funds,
    }
    _check_numbers(counts, dirty_share, seed)
    steps = [*named_steps("schema.sql"), ("parameters", ""), *named_steps("fill.sql")]
    rows: dict[str, int] = {}
    # A plain cursor with tuples, whatever factories the caller's connection was given.
    with (
        _explained(connection),
        connection.transaction(),
        psycopg.Cursor(connection, row_factory=tuple_row) as cursor,
    ):
        _check_encoding(cursor)
        # Two loads at once would trip over each other's names; released with the transaction.
        cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [SCHEMA])
        _drop(cursor, cascade)
        for done, (name, sql) in enumerate(steps):
            if progress is not None:
                progress(name, done, len(steps))
            if name == "parameters":
                _write_parameters(cursor, {**counts, "dirty_share": dirty_share, "seed": seed})
            else:
                cursor.execute(sql)
            if name in TABLES:
                rows[name] = cursor.rowcount
    if progress is not None:
        progress("done", len(steps), len(steps))
    return rows


def _check_numbers(counts: dict[str, int], dirty_share: float, seed: int) -> None:
    limits = {**dict.fromkeys(counts, MOST_ROWS), "seed": MOST_SEED}
    for name, value in {**counts, "seed": seed}.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TrueupError(
                f"{name} of the sample is {value!r}, not a whole number",
                f"Give a whole number from 0 to {limits[name]}.",
            )
        if not 0 <= value <= limits[name]:
            raise TrueupError(
                f"{name} of the sample is {value}; allowed are 0 to {limits[name]}",
                "Give a number within these limits.",
            )
    if isinstance(dirty_share, bool) or not isinstance(dirty_share, (int, float)):
        raise TrueupError(
            f"dirty_share of the sample is {dirty_share!r}, not a number",
            "Give a share from 0 (all canonical) to 1 (none canonical).",
        )
    if not 0 <= dirty_share <= 1:  # NaN fails this too
        raise TrueupError(
            f"dirty_share of the sample is {dirty_share}; allowed is 0 to 1",
            "Give a share from 0 (all canonical) to 1 (none canonical).",
        )
    owners = {"strategies": "funds", "baselines": "funds", "investments": "companies"}
    for name, owner in owners.items():
        if counts[name] and not counts[owner]:
            raise TrueupError(
                f"the sample was asked for {counts[name]} {name} and 0 {owner}, "
                f"but {name} belong to {owner}",
                f"Ask for at least 1 of {owner}, or for 0 {name}.",
            )


def named_steps(file: str) -> Iterator[tuple[str, str]]:
    """(name, statements) of every `-- step: name` of one of the SQL files."""
    _, *parts = _resource(file).decode().split("\n-- step: ")
    for part in parts:
        name, _, sql = part.partition("\n")
        yield name.strip(), sql


def _resource(file: str) -> bytes:
    return resources.files(__package__).joinpath(file).read_bytes()


def _check_encoding(cursor: Cursor) -> None:
    cursor.execute("select current_database(), current_setting('server_encoding')")
    database, encoding = cursor.fetchall()[0]
    if encoding != "UTF8":
        raise TrueupError(
            f"database {database} is encoded in {encoding}; the sample needs UTF8",
            "Create a database with `encoding 'UTF8' template template0` and load it there.",
        )


def _drop(cursor: Cursor, cascade: bool) -> None:
    """Drop the sample that is there, and nothing that is not one."""
    cursor.execute(_FOUND, {"schema": SCHEMA, "tables": list(TABLES), "function": FUNCTION})
    found = cursor.fetchall()
    foreign = [name for name, comment in found if not (comment or "").endswith(MARK)]
    if foreign:
        raise TrueupError(
            f"{', '.join(foreign)}: exists already and was not made by the sample",
            "Load the sample into a separate database, for example a new one.",
        )
    if not found:
        return
    rule = "cascade" if cascade else "restrict"
    tables = [
        *(f"public.{table}" for table in TABLES),
        *(f"{SCHEMA}.{table}" for table in TRUTH_TABLES),
    ]
    cursor.execute(f"drop view if exists {SCHEMA}.truth, {SCHEMA}.weight_truth {rule}")
    # All in one statement, so that their foreign keys do not count as dependencies.
    cursor.execute(f"drop table if exists {', '.join(tables)} {rule}")
    cursor.execute(f"drop function if exists public.{FUNCTION}() {rule}")
    cursor.execute(f"drop function if exists {SCHEMA}.parameter(text) {rule}")
    cursor.execute(f"drop function if exists {SCHEMA}.unit_interval(bigint, text, bigint) {rule}")
    cursor.execute(f"drop schema if exists {SCHEMA} {rule}")


def _write_parameters(cursor: Cursor, parameters: dict[str, int | float]) -> None:
    """Hand the numbers and the hand-written spellings to fill.sql."""
    cursor.execute(
        f"""
        insert into {SCHEMA}.parameters (
            seed, funds, companies, deals, investments, strategies, baselines, dirty_share
        )
        values (
            %(seed)s, %(funds)s, %(companies)s, %(deals)s, %(investments)s, %(strategies)s,
            %(baselines)s, %(dirty_share)s
        )
        """,
        parameters,
    )
    # The server reads the file: it tells an empty cell (NULL) from a quoted one ('').
    with cursor.copy(
        f"copy {SCHEMA}.base_spellings (spelling, resolution, canonical_value, weight)"
        " from stdin (format csv, header match, encoding 'UTF8')"
    ) as copy:
        copy.write(_resource("spellings.csv"))


@contextmanager
def _explained(connection: Connection) -> Iterator[None]:
    """Errors of the database itself, in words for the user."""
    try:
        yield
    except psycopg.errors.DependentObjectsStillExist as error:
        raise TrueupError(
            "the sample of this database cannot be replaced, other objects depend on it:\n"
            f"{error.diag.message_detail}",
            "Drop these first (dbt makes its views again with the next build), or load the sample "
            "into a new database.",
        ) from error
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise TrueupError(
            f"role {connection.info.user} cannot make the sample in database "
            f"{connection.info.dbname}: {error.diag.message_primary}",
            "Connect as the owner of a database that takes writes.",
        ) from error

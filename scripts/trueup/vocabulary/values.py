"""The findings of the models, for people: rows of the audit models as dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from trueup.core.config import Vocabulary
from trueup.core.errors import TrueupError

SCHEMA = "trueup"  # of the marts; the other schemas are <SCHEMA>_intermediate and <SCHEMA>_audit


@dataclass(frozen=True)
class Value:
    """One distinct raw value and what it means; rows counts the cells that hold it."""

    value: str | None
    rows: int
    resolution: str
    canonical_value: str | None
    match: str | None
    suggestion: str | None


@dataclass(frozen=True)
class Unmapped:
    """One row of the work queue (model audit_unmapped_values)."""

    vocabulary: str
    text_key: str
    raw_value: str
    spelling_count: int
    row_count: int
    found_in: str
    tenant_count: int
    sample_keys: str
    suggested_value: str | None
    nearest_alias: str | None
    seed_line: str | None


@dataclass(frozen=True)
class Coverage:
    """Rows of one column by resolution (model fct_stage_coverage, summed over tenants)."""

    table_name: str
    column_name: str
    rows: int
    canonical: int
    resolved: int
    left: int
    unknown: int
    missing: int

    @property
    def filled(self) -> int:
        """Rows with something to read in them: what shares are shares of."""
        return self.rows - self.missing


@dataclass(frozen=True)
class TenantCoverage(Coverage):
    """The same for one tenant of the column; None: the rows of no tenant."""

    tenant: str | None


@dataclass(frozen=True)
class Found:
    """All that the models found about a vocabulary's columns.

    values and unmapped: commonest first.
    """

    vocabulary: Vocabulary
    version: str
    values: list[Value]
    coverage: list[Coverage]
    tenants: list[TenantCoverage]
    unmapped: list[Unmapped]


_VALUES = """
select
    int_values.raw_value as value,
    int_values.row_count as rows,
    int_values.resolution,
    int_values.canonical_value,
    int_values.matched_alias as match,
    audit_unmapped_values.suggested_value as suggestion
from {schema}_intermediate.int_values
left join {schema}_audit.audit_unmapped_values
    on
        int_values.vocabulary = audit_unmapped_values.vocabulary
        and int_values.text_key = audit_unmapped_values.text_key
        and int_values.resolution = 'unknown'
where int_values.vocabulary = %s
order by int_values.row_count desc, int_values.raw_value
"""

_UNMAPPED = """
select
    vocabulary, text_key, raw_value, spelling_count, row_count::bigint as row_count, found_in,
    tenant_count, sample_keys, suggested_value, nearest_alias, seed_line
from {schema}_audit.audit_unmapped_values
order by audit_unmapped_values.row_count desc, text_key
"""

_COVERAGE = """
select
    table_name,
    column_name,
    sum(row_count)::bigint as rows,
    sum(canonical_rows)::bigint as canonical,
    sum(resolved_rows)::bigint as resolved,
    sum(row_count - resolved_rows - unknown_rows - blank_rows - null_rows)::bigint as left,
    sum(unknown_rows)::bigint as unknown,
    sum(blank_rows + null_rows)::bigint as missing
from {schema}.fct_stage_coverage
where vocabulary = %s
group by table_name, column_name
order by sum(row_count) desc, table_name, column_name
"""

_TENANTS = """
select
    table_name,
    column_name,
    tenant,
    row_count as rows,
    canonical_rows as canonical,
    resolved_rows as resolved,
    row_count - resolved_rows - unknown_rows - blank_rows - null_rows as left,
    unknown_rows as unknown,
    blank_rows + null_rows as missing
from {schema}.fct_stage_coverage
where vocabulary = %s
order by table_name, column_name, tenant
"""

_VERSION = """
select vocabulary_version as version from {schema}.dim_vocabularies where vocabulary = %s
"""

Connection = psycopg.Connection[Any]


def everything(connection: Connection, vocabulary: Vocabulary) -> Found:
    """All of it, in one go."""
    name = vocabulary.name
    version = _read(connection, dict, _VERSION, [name])
    return Found(
        vocabulary=vocabulary,
        version=version[0]["version"] if version else "",
        values=_read(connection, Value, _VALUES, [name]),
        coverage=_read(connection, Coverage, _COVERAGE, [name]),
        tenants=_read(connection, TenantCoverage, _TENANTS, [name]),
        unmapped=[row for row in unmapped(connection) if row.vocabulary == name],
    )


def unmapped(connection: Connection) -> list[Unmapped]:
    """The work queue, commonest first."""
    return _read(connection, Unmapped, _UNMAPPED)


def examples(connection: Connection, relation: str, limit: int = 5) -> list[dict[str, Any]]:
    """The first rows of a table that dbt named, such as one of stored test failures."""
    parts = [part.strip('"') for part in relation.split(".")]
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        query = sql.SQL("select * from {} limit {}").format(
            sql.Identifier(*parts[-2:]), sql.Literal(limit)
        )
        return cursor.execute(query).fetchall()


def _read(
    connection: Connection, kind: type[Any], query: str, parameters: list[Any] | None = None
) -> list[Any]:
    try:
        with connection.cursor(row_factory=class_row(kind)) as cursor:
            text = sql.SQL(query).format(schema=sql.SQL(SCHEMA))
            return cursor.execute(text, parameters or []).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        connection.rollback()
        raise TrueupError(
            f"database {connection.info.dbname} has no {SCHEMA} models yet",
            "Build them with `dbt build`, or see the sample with `trueup demo`.",
        ) from None

"""Checks of odd tables: keys of any type and collation, hostile names, partitions, odd tenants."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from psycopg import sql

from integration.conftest import App
from integration.migration.test_migration_shapes import EMBEDDED, create, odd  # noqa: F401  a fixture
from support import migration
from support.verification import Run, reading
from trueup.migration import plan

SHAPES = {shape.table: shape for shape in EMBEDDED}
EMPTY_ONE = (
    "update {table} set {column} = '' where ctid ="
    " (select ctid from {table} where {column} = 'seed' limit 1) and {column} = 'seed'"
)
OTHERS = "other_columns_untouched"


def write(run: Run, text: str, table: str, column: str) -> None:
    names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
    run.connection.execute(sql.SQL(text).format(**names))


def test_tables_of_all_shapes(odd: App) -> None:  # noqa: F811  the fixture
    with odd.connect() as connected:
        for shape in EMBEDDED:
            create(connected, shape)
    made = migration.make_plan(odd, plan.Scope(tuple(SHAPES)), migration.PACE)
    assert migration.apply(odd, made).status == "completed"
    for shape in EMBEDDED:
        place = (shape.table, shape.column)
        with reading(odd) as run:
            differs = run.differs(place)
            assert differs.pop("canonical_values", "ok") == "ok"
            assert differs == {OTHERS: "ok"}
            others = run.checks(place, ("check_values",), tenants=["none of them"])
            assert bool(others) == bool(shape.tenant)
            write(run, EMPTY_ONE, *place)
            found = run.checks(place)
            assert "cannot move" in found[OTHERS].found[0]
            assert found["null_integrity"].status == "warn"
            row, *_ = found["null_integrity"].sample
            assert (row["value"], bool(row["row_key"])) == ("", True)
            write(run, "update {table} set {column} = 'x'", *place)
            found = run.checks(place, ("check_changes",))
            assert found["audit_consistency"].status == "warn"
            assert found["audit_consistency"].rows > 100
            if shape.table == "odd_partitioned":  # a trigger of a partition follows, too
                run.query("create function look() returns trigger language plpgsql as"
                          " $$begin return null; end$$")  # fmt: skip
                run.query("create trigger look after update on odd_rest_1 for each row"
                          " execute function look()")  # fmt: skip
                assert run.checks(place, ("check_others",))[OTHERS].status == "info"


@pytest.mark.parametrize("type_of_fund", ["citext", "numeric"])
def test_tenants_that_are_equal_and_written_otherwise_are_two(
    odd: App,  # noqa: F811
    type_of_fund: str,
) -> None:
    """As in the baseline, and in the audit, whatever the column's own type takes for equal."""
    odd.query("create extension if not exists citext")
    shape = SHAPES["odd_text_c"]
    funds = ("A", "a", "B\nC") if type_of_fund == "citext" else ("1", "1.0", "2")
    listed = ", ".join(f"'{each}'" for each in funds)
    with odd.connect() as connected:
        create(connected, dataclasses.replace(
            shape,
            create=f"create table odd_text_c (id text primary key, fund_id {type_of_fund},"
                   " stage text)",
            values=f"'k' || n, (cast(array[{listed}] as {type_of_fund}[]))[n % 3 + 1]",
        ))  # fmt: skip
    made = migration.make_plan(odd, plan.Scope((shape.table,)))
    migration.apply(odd, made)
    place = (shape.table, shape.column)
    with reading(odd) as run:

        def by_fund(column: str, **options: Any) -> dict[str, int]:
            found = run.checks(place, **options)["per_fund_breakdown"].sample
            return {each["tenant"]: each[column] for each in found}

        counted = by_fund("rows")
        query = f'select fund_id::text collate "C", count(*) from {shape.table} group by 1'
        assert counted == dict(run.query(query)) and counted.keys() == set(funds)
        changed = by_fund("rows_changed")
        assert sum(changed.values()) == made.rows_planned and all(changed.values())
        assert by_fund("rows", tenants=[funds[1]]) == {funds[1]: counted[funds[1]]}
        assert run.checks(place, tenants=[funds[1]])["row_counts"].status == "ok"
        # messages stay one line, whatever stands in a key
        run.query(
            f"update {shape.table} set id = E'\\n', stage = '' where id ="
            f" (select min(id) from {shape.table} where stage = 'seed')"
        )
        named, _ = run.checks(place)["null_integrity"].sample
        assert named["row_key"] == "\n"
        assert f"{shape.table}.stage, row ␊: blank" in named["message"]

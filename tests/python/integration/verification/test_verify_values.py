"""What one pass over a managed column shows: each check is seen with a fault of its own."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from integration.conftest import App
from integration.migration.test_migration_shapes import EMBEDDED, Shape, create, odd, quoted  # noqa: F401
from support import migration
from support.migration import roll_back
from trueup.core import statements
from trueup.core.statements import column_statement
from trueup.migration import plan, rollback

DEALS = plan.Scope(("deal_opportunities",))
DEAL = ("deal_opportunities", "stage")
CLEAN = {"null_integrity": "pass", "row_counts": "pass", "per_fund_breakdown": "info"}
LISTED = {"ambiguous", "out_of_scope", "unknown"}
WRITTEN = "written since the plan"


class Judged(NamedTuple):
    """A check of a column, as the statement answers."""

    status: str
    expected: str
    actual: str
    offenders: list[dict[str, Any]]
    offender_count: int


def judged(
    app: App, run_id: Any, place: tuple[str, str] = DEAL, **options: Any
) -> dict[str, Judged]:
    """The answer by check."""
    with migration.connect(app) as connected:
        statement, values = asked(app, run_id, place, **options)
        rows = statement.run(connected, **values).fetchall()
    found = {check: Judged(*rest) for check, *rest in rows}
    assert len(found) == len(rows)
    for each in found.values():
        cell = ".".join(place)
        assert each.expected.startswith(f"{cell}: ") and each.actual.startswith(f"{cell}: ")
        assert len(each.offenders) <= each.offender_count
        for offender in each.offenders:
            assert (
                offender["message"].startswith(f"{cell}, ") and offender["table_name"] == place[0]
            )
            assert offender["status"] in ("fail", "warn", "info")
            assert len(offender["message"].splitlines()) == 1
        order = [offender["status"] for offender in each.offenders]
        assert order == sorted(order)  # those that fail first
        worst = {"fail": "fail", "warn": "warn"}.get(min(order, default=""), each.status)
        assert each.status == worst
    return found


def asked(
    app: App, run_id: Any, place: tuple[str, str], **options: Any
) -> tuple[statements.Statement, dict[str, Any]]:
    """The statement and its parameters."""
    values: dict[str, Any] = {
        "run_id": run_id, "tenants": None, "table_names": None, "is_quiesced": False,
        "epsilon": 1e-6, "sample_size": 100, "seed": 1, "most": None, **options,
    }  # fmt: skip
    found = statements.statements(app.settings)
    return found[column_statement("verify_values", *place)], values


def statuses(found: dict[str, Judged]) -> dict[str, str]:
    return {check: each.status for check, each in found.items() if check != "canonical_values"}


def lines(each: Judged, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(offender.get(name) for name in names) for offender in each.offenders]


def because(found: dict[str, Judged]) -> set[str]:
    return {offender["because"] for offender in found["canonical_values"].offenders}


@pytest.fixture
def made(built: App) -> plan.Plan:
    """The deals, migrated; verified once without a finding but what the plan listed."""
    made = migration.make_plan(built, DEALS)
    migration.apply(built, made)
    found = judged(built, made.run_id)
    assert statuses(found) == CLEAN
    assert found["canonical_values"].status == "warn" and because(found) == LISTED
    return made


def clean_row(app: App, value: str = "seed", tenant: int = 2) -> int:
    """A row that no run has touched."""
    ((key,),) = app.query(
        "select min(id) from deal_opportunities where stage = %s and fund_id = %s"
        " and row_version = 1", value, tenant,
    )  # fmt: skip
    assert key is not None
    return int(key)


def write(app: App, key: int, value: str | None) -> None:
    app.query("alter table deal_opportunities alter column stage drop not null")
    app.query("update deal_opportunities set stage = %s where id = %s", value, key)


def insert(app: App, key: int, value: str | None, tenant: int | None = 2) -> None:
    app.query("alter table deal_opportunities alter column stage drop not null")
    app.query(
        "insert into deal_opportunities (id, fund_id, company_name, stage)"
        " values (%s, %s, 'late', %s)", key, tenant, value,
    )  # fmt: skip


def forget_the_past(app: App) -> None:
    """As if all that was written by now had been there when the plan was made."""
    app.query(
        "update trueup_ledger.migration_runs set options = jsonb_set(options, '{planned_xid}',"
        " to_jsonb(cast(pg_snapshot_xmax(pg_current_snapshot()) as text)))"
    )


# ------------------------------------------------------------------------------- canonical values


def test_listed_values_are_a_warning_with_their_counts(built: App, made: plan.Plan) -> None:
    found = judged(built, made.run_id)["canonical_values"]
    counted = dict(
        built.query(
            "select stage, count(*) from deal_opportunities as deals where stage !~ '^\\s*$' and"
            " not exists (select from trueup_intermediate.int_vocabulary_keys as keys"
            "  where keys.canonical_value = deals.stage) group by 1"
        )
    )
    assert dict(lines(found, "value", "rows")) == counted and len(counted) > 10
    assert found.offender_count == len(counted)
    assert {offender["status"] for offender in found.offenders} == {"warn"}
    rows = [offender["rows"] for offender in found.offenders]
    assert rows == sorted(rows, reverse=True)
    assert f"{sum(rows)} left as they were" in found.actual


def test_a_case_only_variant_that_the_plan_saw_fails_and_is_named(
    built: App, made: plan.Plan
) -> None:
    key = clean_row(built)
    write(built, key, "Seed")
    forget_the_past(built)
    found = judged(built, made.run_id)
    assert statuses(found) == CLEAN
    check = found["canonical_values"]
    assert check.status == "fail"
    assert lines(check, "status", "value", "rows", "because", "row_key")[0] == (
        "fail", "Seed", 1, "not changed", str(key)
    )  # fmt: skip
    assert check.offenders[0]["message"].endswith(
        f"'Seed': 1 row, not changed, for example row {key}"
    )
    assert "1 rows not changed, 0 written since the plan" in check.actual


def test_a_run_that_changed_nothing_fails_for_every_spelling(built: App) -> None:
    made = migration.make_plan(built, DEALS)
    check = judged(built, made.run_id)["canonical_values"]
    missed = [line for line in lines(check, "rows", "because") if line[1] == "not changed"]
    assert sum(rows for rows, _ in missed) == made.rows_planned
    assert f": {made.rows_planned} rows not changed, " in check.actual


@pytest.mark.parametrize("value", ["Series A", "no such stage", "Se\ned\r"])
def test_a_dirty_value_written_since_is_a_warning_of_its_own(
    built: App, made: plan.Plan, value: str
) -> None:
    write(built, clean_row(built), value)
    found = judged(built, made.run_id)
    assert statuses(found) == CLEAN
    assert ("warn", value, 1, WRITTEN) in lines(
        found["canonical_values"], "status", "value", "rows", "because"
    )
    assert because(found) == LISTED | {WRITTEN}
    assert "0 rows not changed, 1 written since the plan" in found["canonical_values"].actual
    assert set(lines(found["canonical_values"], "rows_perhaps_missed")) == {(0,)}


def test_what_the_run_wrote_and_others_wrote_back_is_written_since(
    built: App, made: plan.Plan
) -> None:
    """The run has done its part; the row is no younger than the plan by the test's doing."""
    ((key, before),) = built.query(
        "select row_id, stage_before from trueup_ledger.stage_normalization_log"
        " where table_name = 'deal_opportunities' limit 1"
    )
    write(built, int(key), before)
    forget_the_past(built)
    assert because(judged(built, made.run_id)) == LISTED | {WRITTEN}


def test_a_missed_row_that_was_edited_since_is_told_by_the_books(built: App) -> None:
    """It is younger than the plan, like a row that was written back; only the books know of it."""
    made = migration.make_plan(built, DEALS)
    ((missed, value, other),) = built.query(
        "select min(id), stage, max(id) from deal_opportunities where fund_id is not null"
        " and stage in (select value_before from trueup_ledger.migration_value_map"
        "  where map_id is not null) group by stage order by count(*) desc limit 1"
    )
    assert missed != other
    built.query("create function skip() returns trigger language plpgsql as"
                " $$begin return null; end$$")  # fmt: skip
    built.query("create trigger skip before update on deal_opportunities for each row"
                f" when (old.id = {missed}) execute function skip()")  # fmt: skip
    assert migration.apply(built, made).status == "completed_with_failures"
    built.query("drop trigger skip on deal_opportunities")

    def of_value() -> tuple[Any, ...]:
        check = judged(built, made.run_id)["canonical_values"]
        (found,) = (each for each in check.offenders if each["value"] == value)
        return tuple(found[name] for name in ("status", "rows", "because", "rows_perhaps_missed"))

    assert of_value() == ("fail", 1, "not changed", 0)
    built.query("update deal_opportunities set amount = 1 where id = %s", missed)
    assert of_value() == ("warn", 1, WRITTEN, 1)
    write(built, other, value)
    assert of_value() == ("warn", 2, WRITTEN, 1)
    check = judged(built, made.run_id)["canonical_values"]
    assert (f"'{value}': 2 rows, {WRITTEN}; by the books, 1 of them may have been missed by the run"
            in "\n".join(each["message"] for each in check.offenders))  # fmt: skip
    # the one that the run has changed, too, is all that is left: nothing was missed
    built.query("update deal_opportunities set stage = 'seed' where id = %s", missed)
    built.query(
        "update trueup_ledger.stage_normalization_changes set row_keys = row_keys || %s::text,"
        " tenants = tenants || null::text, map_ids = map_ids || (select map_id from"
        " trueup_ledger.migration_value_map where value_before = %s and map_id is not null)"
        " where batch_id = (select min(batch_id)"
        "  from trueup_ledger.stage_normalization_changes)", str(missed), value,
    )  # fmt: skip
    assert of_value() == ("warn", 1, WRITTEN, 0)


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_row_that_the_run_wrote_for_another_column(built: App, is_edited: bool) -> None:
    """It is missed where the run wrote it last: younger than the plan, but by its own doing."""
    made = migration.make_plan(built, plan.Scope(("portfoliocompanies",)))
    migration.apply(built, made)
    place = ("portfoliocompanies", "stage")
    assert "fail" not in {each.status for each in judged(built, made.run_id, place).values()}
    ((key,),) = built.query(
        "select min(id) from portfoliocompanies where stage = 'seed' and id::text in"
        " (select row_id from trueup_ledger.stage_normalization_log where column_name ="
        " 'current_stage') and id::text not in (select row_id from"
        " trueup_ledger.stage_normalization_log where column_name = 'stage')"
    )
    built.query("update portfoliocompanies set stage = 'Seed' where id = %s", key)
    if not is_edited:  # the entry of the row, as if it had been written with the row
        with built.connect() as connected, connected.transaction():
            connected.execute(
                "update portfoliocompanies set website = website where id = %s", [key]
            )
            connected.execute(
                "update trueup_ledger.stage_normalization_changes set action = action"
                " where %s = any(row_keys)", [str(key)],
            )  # fmt: skip
    found = lines(judged(built, made.run_id, place)["canonical_values"],
                  "status", "value", "because", "row_key")  # fmt: skip
    if is_edited:
        assert ("warn", "Seed", WRITTEN, None) in found
    else:
        assert found[0] == ("fail", "Seed", "not changed", str(key))


def test_more_rows_of_a_listed_value_are_written_since(built: App, made: plan.Plan) -> None:
    """The plan left so many; the others came later."""
    value, rows = lines(judged(built, made.run_id)["canonical_values"], "value", "rows")[0]
    write(built, clean_row(built), value)
    found = judged(built, made.run_id)
    check = found["canonical_values"]
    of_value = [line[1:] for line in lines(check, "value", "rows", "because") if line[0] == value]
    assert len(of_value) == 2 and (1, WRITTEN) in of_value
    assert next(n for n, reason in of_value if reason in LISTED) == rows


def test_a_value_that_is_not_canonical_any_more(built: App, made: plan.Plan) -> None:
    built.query(
        "delete from trueup_intermediate.int_vocabulary_keys where canonical_value = 'seed'"
    )
    ((rows,),) = built.query("select count(*) from deal_opportunities where stage = 'seed'")
    check = judged(built, made.run_id)["canonical_values"]
    planned = [line for line in lines(check, "value", "because", "rows") if line[0] == "seed"]
    # rows that the run made so were not there when the plan was made
    assert {reason for _, reason, _ in planned} == {"canonical when it was planned", WRITTEN}
    assert sum(n for _, _, n in planned) == rows


def test_new_rows_are_judged_by_their_values_only(built: App, made: plan.Plan) -> None:
    """Beyond the frozen bound: none is missed, none is lost, and what has no value came without."""
    for number, value in enumerate(("Series A", "Series A", "seed", None, "", "Angel")):
        insert(built, 1_000_000 + number, value)
    found = judged(built, made.run_id)
    assert statuses(found) == CLEAN
    written = [
        line for line in lines(found["canonical_values"], "because", "value", "rows")
        if line[0] == WRITTEN
    ]  # fmt: skip
    assert written == [(WRITTEN, "Series A", 2), (WRITTEN, "Angel", 1)]
    breakdown = found["per_fund_breakdown"]
    assert dict(lines(breakdown, "tenant", "rows_since"))["2"] == 6
    assert sum(each["rows_since"] for each in breakdown.offenders) == 6


# --------------------------------------------------------------------- NULLs, blanks, rows, tenants


@pytest.mark.parametrize(("value", "word"), [(None, "NULL"), ("", "blank"), (" \u00a0", "blank")])
def test_a_value_that_became_empty_fails_with_tenant_and_row(
    built: App, made: plan.Plan, value: str | None, word: str
) -> None:
    key = clean_row(built)
    write(built, key, value)
    found = judged(built, made.run_id)
    assert statuses(found) == {**CLEAN, "null_integrity": "fail"}
    assert because(found) == LISTED
    tenant, row = found["null_integrity"].offenders
    assert (tenant["tenant"], tenant["nulls"] - tenant["nulls_before"]) == ("2", value is None)
    assert tenant["blanks"] - tenant["blanks_before"] == (value is not None)
    assert tenant["message"].startswith("deal_opportunities.stage, tenant 2: ")
    assert (row["row_key"], row["tenant"], row["value"]) == (str(key), "2", value)
    assert row["message"] == f"deal_opportunities.stage, row {key}: {word}, {WRITTEN}"
    assert found["null_integrity"].offender_count == 2


def test_only_rows_that_were_written_since_are_named(built: App, made: plan.Plan) -> None:
    """Of the blanks that were there, none."""
    ((tenant, blanks),) = built.query(
        "select fund_id, count(*) from deal_opportunities where stage ~ '^\\s*$'"
        " and fund_id is not null group by 1 order by 2 desc, 1 limit 1"
    )
    assert blanks >= 1
    key = clean_row(built, tenant=tenant)
    write(built, key, "  ")
    check = judged(built, made.run_id)["null_integrity"]
    assert lines(check, "row_key") == [(None,), (str(key),)]
    assert check.offenders[0]["blanks"] == blanks + 1


def test_rows_of_no_tenant_are_a_tenant_of_their_own(built: App, made: plan.Plan) -> None:
    ((key,),) = built.query(
        "select min(id) from deal_opportunities where fund_id is null and row_version = 1"
    )
    write(built, key, None)
    found = judged(built, made.run_id)
    check = found["null_integrity"]
    assert lines(check, "tenant", "row_key") == [(None, None), (None, str(key))]
    assert "deal_opportunities.stage, no tenant: 1 NULL" in check.offenders[0]["message"]
    assert found["per_fund_breakdown"].offenders[0]["tenant"] is None
    built.query("delete from deal_opportunities where id = %s", key)
    check = judged(built, made.run_id)["row_counts"]
    assert lines(check, "tenant") == [(None,)] and "no tenant" in check.offenders[0]["message"]


def test_rows_that_came_since_may_have_come_without_a_value(built: App, made: plan.Plan) -> None:
    insert(built, -1, None)
    found = judged(built, made.run_id)
    assert statuses(found) == {**CLEAN, "null_integrity": "warn", "row_counts": "warn"}
    assert lines(found["null_integrity"], "status", "tenant", "row_key") == [("warn", "2", None)]
    write(built, clean_row(built), None)  # one more than came
    assert judged(built, made.run_id)["null_integrity"].status == "fail"


@pytest.mark.parametrize("is_quiesced", [False, True])
def test_a_lost_row_is_named_by_its_tenant(built: App, made: plan.Plan, is_quiesced: bool) -> None:
    before = judged(built, made.run_id)["canonical_values"]
    built.query("delete from deal_opportunities where id = %s", clean_row(built))
    found = judged(built, made.run_id, is_quiesced=is_quiesced)
    status = "fail" if is_quiesced else "warn"
    assert statuses(found) == {**CLEAN, "row_counts": status}
    assert found["canonical_values"] == before
    (line,) = found["row_counts"].offenders
    assert (line["status"], line["tenant"]) == (status, "2")
    assert line["rows"] == line["rows_before"] - 1
    assert line["message"].endswith(f"tenant 2: {line['rows']} rows, before {line['rows_before']}")


def test_a_row_that_went_to_another_tenant_is_named_by_both(built: App, made: plan.Plan) -> None:
    built.query("update deal_opportunities set fund_id = 3 where id = %s", clean_row(built))
    found = judged(built, made.run_id)
    assert statuses(found) == {**CLEAN, "row_counts": "warn"}
    assert {line[0] for line in lines(found["row_counts"], "tenant")} == {"2", "3"}


def test_an_edit_of_another_column_is_no_finding(built: App, made: plan.Plan) -> None:
    before = judged(built, made.run_id)
    built.query("update deal_opportunities set source = 'edited'")
    assert judged(built, made.run_id) == before


def test_the_breakdown_counts_what_is_there(built: App, made: plan.Plan) -> None:
    found = judged(built, made.run_id)["per_fund_breakdown"]
    counted = built.query(
        """
        select cast(fund_id as text), count(*), count(distinct stage),
            (select count(*) from trueup_ledger.stage_normalization_log as log
             where log.tenant is not distinct from cast(deals.fund_id as text)),
            count(*) filter (where stage !~ '^\\s*$' and stage not in
                (select canonical_value from trueup_intermediate.int_vocabulary_keys
                 where canonical_value is not null)),
            count(*) filter (where stage is null or stage ~ '^\\s*$')
        from deal_opportunities as deals group by fund_id order by fund_id is not null, 2 desc, 1
        """
    )
    names = ("tenant", "rows", "distinct_values", "rows_changed", "rows_left", "rows_empty")
    assert lines(found, *names) == counted
    assert found.offender_count == len(counted) == 13
    assert f"13 tenants, 600 rows, {made.rows_planned} changed, " in found.actual


# -------------------------------------------------------------------------------- what is looked at


def test_tenants_that_are_not_asked_for_are_not_looked_at(built: App, made: plan.Plan) -> None:
    write(built, clean_row(built), None)
    built.query("delete from deal_opportunities where id = %s", clean_row(built))
    others = judged(built, made.run_id, tenants=["1", None])
    assert statuses(others) == CLEAN
    assert lines(others["per_fund_breakdown"], "tenant") == [(None,), ("1",)]
    theirs = judged(built, made.run_id, tenants=["2"])
    assert theirs["null_integrity"].status == "fail" and theirs["row_counts"].status == "warn"
    assert {offender["tenant"] for offender in theirs["null_integrity"].offenders} == {"2"}


def test_a_run_of_one_tenant_is_judged_by_that_tenant(built: App) -> None:
    made = migration.make_plan(built, plan.Scope(("deal_opportunities",), tenants=("2",)))
    migration.apply(built, made)
    found = judged(built, made.run_id)
    assert statuses(found) == CLEAN and because(found) <= LISTED
    assert lines(found["per_fund_breakdown"], "tenant") == [("2",)]


def test_most_shortens_what_is_shown_and_not_what_is_counted(built: App, made: plan.Plan) -> None:
    whole, short = judged(built, made.run_id), judged(built, made.run_id, most=3)
    for check in ("canonical_values", "per_fund_breakdown"):
        assert short[check].offenders == whole[check].offenders[:3]
        assert short[check].offender_count == whole[check].offender_count > 3


def test_what_is_not_asked_for_or_not_there_answers_with_no_row(
    built: App, made: plan.Plan
) -> None:
    assert judged(built, made.run_id, table_names=["deal_opportunities", "others"])
    assert judged(built, made.run_id, table_names=["investments"]) == {}
    assert judged(built, uuid.uuid4()) == {}
    assert judged(built, made.run_id, ("investments", "round")) == {}


# --------------------------------------------------------------------------------- the frozen bound


def bounds(app: App, run_id: Any) -> dict[tuple[str, str], list[str] | None]:
    rows = app.query(
        "select table_name, column_name, range_end from trueup_ledger.stage_migration_control"
        " where run_id = %s", run_id,
    )  # fmt: skip
    return {(table, column): range_end for table, column, range_end in rows}


def test_every_column_has_its_bound_and_clean_ones_too(built: App, made: plan.Plan) -> None:
    again = migration.make_plan(built)
    ((last,),) = built.query("select cast(max(id) as text) from deal_opportunities")
    found = bounds(built, again.run_id)
    assert found.keys() == {(each.table_name, each.column_name) for each in again.columns}
    assert found[DEAL] == [last] == bounds(built, made.run_id)[DEAL]
    assert next(each for each in again.columns if each.table_name == DEAL[0]).batches == 0
    migration.apply(built, again)
    insert(built, 1_000_000, None)
    assert statuses(judged(built, again.run_id)) == CLEAN


def test_a_table_that_was_empty_has_no_bound_and_nothing_to_lose(built: App) -> None:
    built.query("truncate deal_opportunities cascade")
    made = migration.make_plan(built, DEALS)
    assert bounds(built, made.run_id) == {DEAL: None}
    insert(built, 1, None)
    insert(built, 2, "Series A")
    found = judged(built, made.run_id)
    assert statuses(found) == CLEAN
    assert because(found) == {WRITTEN}


def test_a_run_of_an_earlier_version_has_the_bound_of_its_last_batch(
    built: App, made: plan.Plan
) -> None:
    insert(built, 1_000_000, "Series A")
    before = judged(built, made.run_id)
    built.query("update trueup_ledger.stage_migration_control set range_end = null")
    assert judged(built, made.run_id) == before and statuses(before) == CLEAN
    # and without batches none at all: every row is judged
    built.query("delete from trueup_ledger.stage_migration_batches")
    assert judged(built, made.run_id)["row_counts"].status == "warn"


def test_a_rollback_is_judged_by_the_bound_of_its_run(built: App, made: plan.Plan) -> None:
    insert(built, 1_000_000, "Series A")
    back, _ = roll_back(built, made.run_id)
    assert bounds(built, back.run_id) == bounds(built, made.run_id)
    found = judged(built, back.run_id)
    assert statuses(found) == CLEAN
    assert "canonical_values" not in found  # what comes back is what there was
    assert f", {made.rows_planned} changed, " in found["per_fund_breakdown"].actual
    built.query("delete from deal_opportunities where id = %s", clean_row(built))
    assert judged(built, back.run_id)["row_counts"].status == "warn"


def test_a_part_of_a_run_that_is_taken_back_has_the_bound_of_the_whole(
    built: App, made: plan.Plan
) -> None:
    ((batch,),) = built.query(
        "select min(batch_id) from trueup_ledger.stage_migration_batches where rows_updated > 0"
    )
    back, _ = roll_back(built, made.run_id, rollback.Scope(batch_id=batch))
    found = judged(built, back.run_id)
    assert statuses(found) == CLEAN
    assert "600 rows" in found["row_counts"].actual


@pytest.mark.parametrize("shape", EMBEDDED, ids=lambda shape: shape.table)
def test_a_table_of_this_shape(odd: App, shape: Shape) -> None:  # noqa: F811
    """Keys of any type and collation; with a tenant and without."""
    with odd.connect() as connected:
        create(connected, shape)
    made = migration.make_plan(odd, plan.Scope((shape.table,)))
    migration.apply(odd, made)
    place = (shape.table, shape.column)
    found = judged(odd, made.run_id, place)
    assert statuses(found) == CLEAN and because(found) <= LISTED
    table, column = quoted(shape.table), quoted(shape.column)
    odd.query(
        f"update {table} set {column} = '' where ctid = (select ctid from {table}"
        f" where {column} = 'seed' limit 1)"
    )
    found = judged(odd, made.run_id, place)
    assert statuses(found) == {**CLEAN, "null_integrity": "fail"}
    assert [each for (each,) in lines(found["null_integrity"], "value")][-1] == ""
    assert judged(odd, made.run_id, place, tenants=["none of them"]).keys() == (
        set(found) if shape.tenant else set()
    )


@pytest.mark.parametrize("type_of_fund", ["citext", "numeric"])
def test_tenants_that_are_equal_and_written_otherwise_are_two(
    odd: App,  # noqa: F811
    type_of_fund: str,
) -> None:
    """As in the baseline, and in the audit, whatever the column's own type takes for equal."""
    odd.query("create extension if not exists citext")
    shape = next(shape for shape in EMBEDDED if shape.table == "odd_text_c")
    funds = ("A", "a", "B\nC") if type_of_fund == "citext" else ("1", "1.0", "2")
    listed = ", ".join(f"'{each}'" for each in funds)
    with odd.connect() as connected:
        create(connected, dataclasses.replace(
            shape,
            columns=f"id text primary key, fund_id {type_of_fund}, stage text",
            values=f"'k' || n, (cast(array[{listed}] as {type_of_fund}[]))[n % 3 + 1]",
        ))  # fmt: skip
    made = migration.make_plan(odd, plan.Scope((shape.table,)))
    migration.apply(odd, made)
    place = (shape.table, shape.column)
    found = judged(odd, made.run_id, place)
    assert statuses(found) == CLEAN
    counted = dict(lines(found["per_fund_breakdown"], "tenant", "rows"))
    assert counted == dict(
        odd.query(f'select fund_id::text collate "C", count(*) from {shape.table} group by 1')
    )
    assert counted.keys() == set(funds)
    changed = dict(lines(found["per_fund_breakdown"], "tenant", "rows_changed"))
    assert sum(changed.values()) == made.rows_planned and all(changed.values())
    one = judged(odd, made.run_id, place, tenants=[funds[1]])
    assert lines(one["per_fund_breakdown"], "tenant", "rows") == [(funds[1], counted[funds[1]])]
    assert one["row_counts"].status == "pass"
    # messages stay one line, whatever stands in a key
    odd.query(
        f"update {shape.table} set id = E'\\n', stage = '' where id ="
        f" (select min(id) from {shape.table} where stage = 'seed')"
    )
    (named,) = (each for each in judged(odd, made.run_id, place)["null_integrity"].offenders
                if "row_key" in each)  # fmt: skip
    assert named["row_key"] == "\n"
    assert f"{shape.table}.stage, row ␊: blank" in named["message"]


# -------------------------------------------------------------------------------------- the passes


def scans(
    node: dict[str, Any], table: str, is_counting: bool = False
) -> Iterator[tuple[bool, bool]]:
    """The scans of a table in a plan: are they run, does each worker count what it has read?"""
    is_counting = is_counting or node.get("Partial Mode") == "Partial"
    if node.get("Relation Name") == table:
        yield node["Actual Loops"] > 0, is_counting
    for child in node.get("Plans", []):
        yield from scans(child, table, is_counting)


def explained(app: App, run_id: Any) -> list[bool]:
    """Of every scan of the deals that is run, does each worker count what it has read?"""
    statement, values = asked(app, run_id, DEAL)
    text = statement.sql[: statement.sql.rindex(";")]
    with migration.connect(app) as connected:
        connected.execute(
            "set parallel_setup_cost = 0; set parallel_tuple_cost = 0;"
            " set min_parallel_table_scan_size = 0; set enable_nestloop = off"
        )
        cursor = psycopg.RawCursor(connected)
        cursor.execute(
            f"explain (analyze, format json) {text}".encode(),
            [values[name] for name in statement.parameters],
        )
        ((found,),) = cursor.fetchall()
    found = json.loads(found) if isinstance(found, str) else found
    return [is_counting for is_run, is_counting in scans(found[0]["Plan"], DEAL[0]) if is_run]


def test_the_table_is_read_once_and_in_parallel_where_nothing_is_wrong(
    built: App, made: plan.Plan
) -> None:
    built.query("vacuum analyze deal_opportunities")
    assert explained(built, made.run_id) == [True]
    write(built, clean_row(built), "Series A")
    write(built, clean_row(built), None)
    assert len(explained(built, made.run_id)) == 3


def test_a_run_that_is_not_there_reads_nothing(built: App, made: plan.Plan) -> None:
    assert explained(built, uuid.uuid4()) == []

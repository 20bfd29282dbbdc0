"""Values, NULLs, rows and tenants: each check is seen with a fault of its own, which it names."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from integration.conftest import App
from integration.migration.test_migration_shapes import (
    EMBEDDED,
    ROWS,
    create,
    nodes_of,
    odd,  # noqa: F401  a fixture
)
from support import migration
from support.migration import roll_back
from support.verification import DEALS, LEDGER, OPTIONS, Check, Checks, Run, reading
from trueup.migration import plan, rollback

SCOPE = plan.Scope(("deal_opportunities",))
VALUES = ("check_values",)
LISTED = {"ambiguous", "out_of_scope", "unknown"}
WRITTEN = "written_since"


def lines(check: Check, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(offender.get(name) for name in names) for offender in check.sample]


def reasons(found: Checks) -> set[str]:
    return {offender["reason"] for offender in found["canonical_values"].sample}


def clean_row(run: Run, value: str = "seed", tenant: int = 2) -> int:
    """A row that no run has touched."""
    ((key,),) = run.query(
        "select min(id) from deal_opportunities where stage = %s and fund_id = %s"
        " and row_version = 1", value, tenant,
    )  # fmt: skip
    assert key is not None
    return int(key)


def write(run: Run, key: int, value: str | None) -> None:
    run.query("update deal_opportunities set stage = %s where id = %s", value, key)


def insert(run: Run, key: int, value: str | None) -> None:
    run.query(
        "insert into deal_opportunities (id, fund_id, company_name, stage)"
        " values (%s, 2, 'late', %s)", key, value,
    )  # fmt: skip


def forget_the_past(run: Run) -> None:
    """As if all that was written by now had been there when the plan was made."""
    run.query(
        "with later as (select cast(cast(pg_current_xact_id() as text) as bigint) + 1 as xid)"
        " update trueup_ledger.migration_runs set options = jsonb_set(options,"
        " '{planned_snapshot}', to_jsonb(format('%1$s:%1$s:', (select xid from later))))"
    )


# ------------------------------------------------------------------------------- canonical values


def test_listed_values_are_a_warning_with_their_counts(deals: Run) -> None:
    found = deals.checks()["canonical_values"]
    counted = dict(
        deals.query(
            "select stage, count(*) from deal_opportunities as deals where stage !~ '^\\s*$' and"
            " not exists (select from trueup_intermediate.int_vocabulary_keys as keys"
            "  where keys.canonical_value = deals.stage) group by 1"
        )
    )
    assert dict(lines(found, "value", "rows")) == counted and len(counted) > 10
    assert reasons({"canonical_values": found}) == LISTED and found.rows == len(counted)
    # the undecided ones first; what was decided on is no warning, even if that was after the run
    shown = [(each["status"] == "info", -each["rows"]) for each in found.sample]
    assert shown == sorted(shown)
    for each in found.sample:
        assert (each["status"] == "warn") == (each["reason"] == "unknown")
    assert f"{-sum(rows for _, rows in shown)} left as they were" in found.found[0]
    deals.query("update trueup_intermediate.int_values set resolution = 'out_of_scope'"
                " where resolution = 'unknown'")  # fmt: skip
    assert deals.differs() == {"canonical_values": "ok"}
    write(deals, clean_row(deals), found.sample[0]["value"])  # by a user, after the run
    assert deals.differs() == {"canonical_values": "ok"}


def test_a_dirty_value_written_since_is_a_warning_of_its_own(deals: Run) -> None:
    for value in ("Series A", "no such stage", "Se\ned\r"):
        write(deals, clean_row(deals), value)
    assert deals.differs() == {}
    found = deals.checks()
    check = found["canonical_values"]
    of_values = lines(check, "status", "value", "rows", "reason")
    for value in ("Series A", "no such stage", "Se\ned\r"):
        assert ("warn", value, 1, WRITTEN) in of_values
    assert reasons(found) == LISTED | {WRITTEN}
    assert "0 rows not changed, 3 written since the plan" in check.found[0]
    assert set(lines(check, "rows_perhaps_missed")) == {(0,)}


def test_what_the_run_wrote_and_others_wrote_back_is_written_since(deals: Run) -> None:
    """The run has done its part; the row is no younger than the plan by the test's doing."""
    ((key, before),) = deals.query(
        "select row_id, stage_before from trueup_ledger.stage_normalization_log"
        " where table_name = 'deal_opportunities' limit 1"
    )
    write(deals, int(key), before)
    forget_the_past(deals)
    assert reasons(deals.checks()) == LISTED | {WRITTEN}


def test_a_missed_row_that_was_edited_since_is_told_by_the_books(built: App) -> None:
    """It is younger than the plan, like a row that was written back; only the books know of it."""
    made = migration.make_plan(built, SCOPE)
    with reading(built) as run:  # a run that changed nothing fails for every spelling
        check = run.checks()["canonical_values"]
        reasons = lines(check, "rows", "reason")
        assert sum(rows for rows, reason in reasons if reason == "missed") == made.rows_planned
        assert f": {made.rows_planned} rows not changed, " in check.found[0]
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
    assert built.query("select row_key from trueup_ledger.migration_quarantine") == [(str(missed),)]
    built.query("delete from trueup_ledger.migration_quarantine")  # as if it had not been noticed
    with reading(built) as run:

        def of_value() -> tuple[Any, ...]:
            check = run.checks()["canonical_values"]
            (found,) = (each for each in check.sample if each["value"] == value)
            names = ("status", "rows", "reason", "rows_perhaps_missed")
            return tuple(found[name] for name in names)

        assert of_value() == ("fail", 1, "missed", 0)
        run.query("update deal_opportunities set amount = 1 where id = %s", missed)
        assert of_value() == ("warn", 1, WRITTEN, 1)
        write(run, other, value)
        assert of_value() == ("warn", 2, WRITTEN, 1)
        messages = [each["message"] for each in run.checks()["canonical_values"].sample]
        said = f"'{value}': 2 rows, written since the plan; by the books, 1 of them may have been"
        assert said in "\n".join(messages)
        # the one that the run has changed, too, is all that is left: nothing was missed
        run.query("update deal_opportunities set stage = 'seed' where id = %s", missed)
        run.query(
            "update trueup_ledger.stage_normalization_changes set row_keys = row_keys || %s::text,"
            " tenants = tenants || null::text, map_ids = map_ids || (select map_id from"
            " trueup_ledger.migration_value_map where value_before = %s and map_id is not null)"
            " where batch_id = (select min(batch_id)"
            "  from trueup_ledger.stage_normalization_changes)", str(missed), value,
        )  # fmt: skip
        assert of_value() == ("warn", 1, WRITTEN, 0)


def test_more_rows_of_a_listed_value_are_written_since(deals: Run) -> None:
    """The plan left so many; the others came later."""
    value, rows = lines(deals.checks()["canonical_values"], "value", "rows")[0]
    write(deals, clean_row(deals), value)
    check = deals.checks()["canonical_values"]
    of_value = [line[1:] for line in lines(check, "value", "rows", "reason") if line[0] == value]
    assert len(of_value) == 2 and (1, WRITTEN) in of_value
    assert next(n for n, reason in of_value if reason in LISTED) == rows


def test_a_value_that_is_not_canonical_any_more(deals: Run) -> None:
    deals.query(
        "delete from trueup_intermediate.int_vocabulary_keys where canonical_value = 'seed'"
    )
    ((rows,),) = deals.query("select count(*) from deal_opportunities where stage = 'seed'")
    check = deals.checks()["canonical_values"]
    planned = [line for line in lines(check, "value", "reason", "rows") if line[0] == "seed"]
    # rows that the run made so were not there when the plan was made
    assert {reason for _, reason, _ in planned} == {"canonical", WRITTEN}
    assert sum(n for _, _, n in planned) == rows


def test_new_rows_are_judged_by_their_values_only(deals: Run) -> None:
    """Beyond the frozen bound: none is missed, none is lost, and what has no value came without."""
    for number, value in enumerate(("Series A", "Series A", "seed", None, "", "Angel")):
        insert(deals, 1_000_000 + number, value)
    found = deals.checks()
    assert deals.differs() == {}
    named = lines(found["canonical_values"], "reason", "value", "rows")
    assert [line for line in named if line[0] == WRITTEN] == [
        (WRITTEN, "Series A", 2), (WRITTEN, "Angel", 1)
    ]  # fmt: skip
    breakdown = found["per_fund_breakdown"]
    assert dict(lines(breakdown, "tenant", "rows_since"))["2"] == 6
    assert sum(each["rows_since"] for each in breakdown.sample) == 6


# --------------------------------------------------------------------- NULLs, blanks, rows, tenants


def test_a_value_that_became_empty_warns_with_tenant_and_row(deals: Run) -> None:
    """Of the blanks that were there before, none is named; if nobody else writes, it fails."""
    ((fund, blanks),) = deals.query(
        "select fund_id, count(*) from deal_opportunities where stage ~ '^\\s*$'"
        " and fund_id is not null group by 1 order by 2 desc, 1 limit 1"
    )
    assert blanks >= 1
    emptied: dict[int, str | None] = {}
    for value in (None, "", " \u00a0"):
        key = clean_row(deals, tenant=fund)
        emptied[key] = value
        write(deals, key, value)
        assert deals.differs() == {"null_integrity": "warn"}
        assert deals.differs(is_quiesced=True) == {"null_integrity": "fail"}
    found = deals.checks()
    assert reasons(found) == LISTED
    *rows, tenant = found["null_integrity"].sample
    assert (tenant["tenant"], tenant["nulls"], tenant["nulls_before"]) == (str(fund), 1, 0)
    assert (tenant["blanks"], tenant["blanks_before"]) == (blanks + 2, blanks)
    assert tenant["message"].startswith(f"deal_opportunities.stage, fund {fund}: ")
    assert {int(row["row_key"]): row["value"] for row in rows} == emptied
    for row in rows:
        word = "NULL" if row["value"] is None else "blank"
        assert row["tenant"] == str(fund) and row["message"] == (
            f"deal_opportunities.stage, row {row['row_key']}: {word}, written since the plan"
        )
    assert found["null_integrity"].rows == 4
    # any of the younger rows may have been empty before if one of these was
    deals.query("update deal_opportunities set amount = 1 where id = (select min(id) from"
                " deal_opportunities where stage ~ '^\\s*$' and row_version = 1)")  # fmt: skip
    assert lines(deals.checks()["null_integrity"], "row_key") == [(None,)]


def test_empty_rows_that_change_their_tenant_are_no_failure(deals: Run) -> None:
    """Two companies swap funds: their rows were empty before the plan, and none is named."""
    deals.query("update deal_opportunities set fund_id = case when stage ~ '^\\s*$' then 4 else"
                " fund_id end where fund_id = (select fund_id from deal_opportunities"
                " where stage ~ '^\\s*$' and fund_id not in (4) limit 1)")  # fmt: skip
    check = deals.checks()["null_integrity"]
    assert lines(check, "status", "tenant", "row_key") == [("warn", "4", None)]
    assert check.sample[0]["message"].endswith(
        "; the column as a whole has no more, so rows may have changed their fund"
    )


def test_rows_of_no_tenant_are_a_tenant_of_their_own(deals: Run) -> None:
    ((key,),) = deals.query(
        "select min(id) from deal_opportunities where fund_id is null and row_version = 1"
    )
    write(deals, key, None)
    found = deals.checks()
    check = found["null_integrity"]
    assert lines(check, "tenant", "row_key") == [(None, str(key)), (None, None)]
    assert "deal_opportunities.stage, no fund: 1 NULL" in check.sample[1]["message"]
    assert found["per_fund_breakdown"].sample[0]["tenant"] is None
    deals.query("delete from deal_opportunities where id = %s", key)
    check = deals.checks()["row_counts"]
    assert lines(check, "tenant") == [(None,)] and "no fund" in check.sample[0]["message"]


def test_rows_that_came_since_may_have_come_without_a_value(deals: Run) -> None:
    insert(deals, -1, None)
    assert deals.differs() == {"null_integrity": "warn", "row_counts": "warn"}
    named = lines(deals.checks()["null_integrity"], "status", "tenant", "row_key")
    assert named == [("warn", "2", None)]
    write(deals, clean_row(deals), None)  # one more than came
    named = lines(deals.checks()["null_integrity"], "status", "tenant", "row_key")
    assert len(named) == 3 and {status for status, *_ in named} == {"warn"}


def test_the_breakdown_counts_what_is_there(deals: Run) -> None:
    found = deals.checks()["per_fund_breakdown"]
    counted = deals.query(
        """
        select cast(fund_id as text), count(*), count(distinct stage),
            (select count(*) from trueup_ledger.stage_normalization_log as log
             where log.table_name = 'deal_opportunities'
                 and log.tenant is not distinct from cast(deals.fund_id as text)),
            count(*) filter (where stage !~ '^\\s*$' and stage not in
                (select canonical_value from trueup_intermediate.int_vocabulary_keys
                 where canonical_value is not null)),
            count(*) filter (where stage is null or stage ~ '^\\s*$')
        from deal_opportunities as deals group by fund_id order by fund_id is not null, 2 desc, 1
        """
    )
    names = ("tenant", "rows", "distinct_values", "rows_changed", "rows_left", "rows_empty")
    assert lines(found, *names) == counted
    assert found.rows == len(counted) == 13
    changed = sum(row[3] for row in counted)
    assert f"13 tenants, 600 rows, {changed} changed, " in found.found[0]


# -------------------------------------------------------------------------------- what is looked at


def test_only_the_tenants_that_are_asked_for_are_looked_at(deals: Run) -> None:
    everyone = deals.checks()["audit_consistency"].expected[1]
    parts = [deals.checks(tenants=[each])["audit_consistency"].expected[1]
             for (each,) in deals.query("select distinct cast(fund_id as text)"
                                        " from deal_opportunities")]  # fmt: skip
    numbers = [int(text.split(": ")[1].split()[0]) for text in [everyone, *parts]]
    assert numbers[0] == sum(numbers[1:]) > 100

    faults = {"null_integrity": "warn", "row_counts": "warn", "audit_consistency": "warn"}
    for fund in (2, None):
        which = "fund_id is null" if fund is None else f"fund_id = {fund}"
        untouched = f"select min(id) from deal_opportunities where {which} and row_version = 1"
        deals.query(f"update deal_opportunities set stage = 'Mezzanine' where {which}"
                    " and row_version = 2")  # fmt: skip
        deals.query(f"update deal_opportunities set stage = null where id = ({untouched})")
        deals.query(f"delete from deal_opportunities where id = ({untouched})")
        tenant = None if fund is None else str(fund)
        theirs = deals.checks(tenants=[tenant])
        assert deals.differs(tenants=[tenant]) == faults
        for check in faults:
            assert {each["tenant"] for each in theirs[check].sample} == {tenant}
        if fund:
            assert deals.differs(tenants=["1", None]) == {}
            others = deals.checks(tenants=["1", None])["per_fund_breakdown"]
            assert lines(others, "tenant") == [(None,), ("1",)]


def test_a_run_of_one_tenant_is_judged_by_that_tenant(built: App) -> None:
    made = migration.make_plan(built, plan.Scope(("deal_opportunities",), tenants=("2",)))
    migration.apply(built, made)
    with reading(built) as run:
        found = run.checks()
        assert run.differs() in ({}, {"canonical_values": "ok"}) and reasons(found) <= LISTED
        assert lines(found["per_fund_breakdown"], "tenant") == [("2",)]


def test_most_shortens_what_is_shown_and_not_what_is_counted(deals: Run) -> None:
    deals.query("update trueup_ledger.stage_migration_batches set status = 'cancelled'")
    deals.query("alter table deal_opportunities disable trigger user")
    deals.query("update deal_opportunities set stage = null where id % 2 = 0")
    deals.query("delete from deal_opportunities where id % 5 = 0")
    deals.query("update fund_strategy_models set stage_allocation = '{}'")
    deals.query("update trueup.fct_deal_stages set stage = 'seed'")
    whole, short = deals.checks(), deals.checks(most=2)
    many = {name for name, check in whole.items() if len(check.sample) > 6}
    assert many == {"batch_tracking", "canonical_values", "null_integrity", "row_counts",
                    "audit_consistency", "sample_inspection", "per_fund_breakdown", "weight_sums",
                    "models_agree"}  # fmt: skip
    for name, check in whole.items():
        assert len(short[name].sample) <= 2 * len(check.found)
        assert short[name].rows == check.rows or name == "sample_inspection"
        assert (short[name].status, short[name].found) == (check.status, check.found)


def test_what_is_not_asked_for_or_not_there_answers_with_no_row(deals: Run) -> None:
    of_run = {"batch_tracking", "audit_consistency", "weight_sums"}
    assert deals.checks(table_names=["deal_opportunities", "others"]).keys() > of_run
    assert deals.checks(table_names=["investments"]).keys() == of_run
    assert deals.checks(("portfoliocompanies", "stage")).keys() == of_run
    nowhere = Run(deals.app, str(uuid.uuid4()), deals.connection)
    assert nowhere.checks().keys() <= {"weight_sums"}


# --------------------------------------------------------------------------------- the frozen bound


def bounds(app: App, run_id: Any) -> dict[tuple[str, str], list[str] | None]:
    rows = app.query(
        "select table_name, column_name, range_end from trueup_ledger.stage_migration_control"
        " where run_id = %s", run_id,
    )  # fmt: skip
    return {(table, column): range_end for table, column, range_end in rows}


def test_every_column_has_its_bound_and_clean_ones_too(migrated: App) -> None:
    again = migration.make_plan(migrated)
    ((last,),) = migrated.query("select cast(max(id) as text) from deal_opportunities")
    found = bounds(migrated, again.run_id)
    assert found.keys() == {(each["table_name"], each["column_name"]) for each in again.columns}
    assert found[DEALS] == [last]
    assert [each["batches"] for each in again.columns if each["table_name"] == DEALS[0]] == [0]
    migration.apply(migrated, again)
    with reading(migrated) as run:
        assert run.run_id == str(again.run_id)
        insert(run, 1_000_000, None)
        assert run.differs(purposes=VALUES) == {}


def test_a_table_that_was_empty_has_no_bound_and_nothing_to_lose(migrated: App) -> None:
    migrated.query("truncate deal_opportunities cascade")
    made = migration.make_plan(migrated, SCOPE)
    assert bounds(migrated, made.run_id) == {DEALS: None}
    with reading(migrated) as run:
        insert(run, 1, None)
        insert(run, 2, "Series A")
        assert run.differs(purposes=VALUES) == {}
        assert reasons(run.checks(purposes=VALUES)) == {WRITTEN}


def test_a_rollback_is_judged_by_the_bound_and_the_digest_of_its_own(migrated: App) -> None:
    with reading(migrated) as run:
        first = run.run_id
    migrated.query("insert into deal_opportunities (id, company_name, stage)"
                   " values (1000000, 'late', 'Series A')")  # fmt: skip
    ((batch,),) = migrated.query(
        "select min(batch_id) from trueup_ledger.stage_migration_batches where rows_updated > 0"
        " and table_name = 'deal_opportunities'"
    )
    part, _ = roll_back(migrated, first, rollback.Scope(batch_id=batch))
    with reading(migrated, part.run_id) as run:
        assert run.differs() == {}
        assert "600 rows" in run.checks()["row_counts"].found[0]
    back, outcome = roll_back(migrated, first)
    assert bounds(migrated, back.run_id) == bounds(migrated, first)
    digests = dict(migrated.query(f"select run_id, audit_digest from {LEDGER}.migration_runs"))
    assert outcome.audit_digest == digests[back.run_id] and len(set(digests.values())) == 3
    with reading(migrated, first) as run:
        assert run.differs() == {}  # it is verified as taken back
        lines = [row["message"] for row in run.checks()["canonical_values"].sample
                 if row["reason"] == "restored"]  # fmt: skip
        own = {str(each.run_id)[:8] for each in (part, back)}
        assert len(lines) > 50 and own == {
            short for line in lines for short in line.partition("restored by run ")[2].split(", ")
        }
    with reading(migrated, back.run_id) as run:
        found = run.checks()
        assert run.differs() == {}
        assert "canonical_values" not in found  # what comes back is what there was
        check = found["other_columns_untouched"]
        assert "a rollback compares nothing" in check.sample[0]["message"]
        run.query("delete from deal_opportunities where id = %s", clean_row(run))
        assert run.differs() == {"row_counts": "warn"}


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
    with migration.connect(app) as connected:
        connected.execute(
            "set parallel_setup_cost = 0; set parallel_tuple_cost = 0;"
            " set min_parallel_table_scan_size = 0; set enable_nestloop = off"
        )
        run = Run(app, str(run_id), connected)
        found = migration.explained(
            connected, run.statements["check_values__deal_opportunities__stage"],
            {**OPTIONS, "run_id": run_id},
        )  # fmt: skip
    return [is_counting for is_run, is_counting in scans(found, DEALS[0]) if is_run]


def test_no_check_compares_every_row_with_every_other(odd: App) -> None:  # noqa: F811  the fixture
    """Without statistics PostgreSQL expects one row in the audit, after a rollback two of each."""
    shapes = [shape for shape in EMBEDDED if shape.table in ("odd_text", "odd_uuid")]
    with odd.connect() as connected:
        for shape in shapes:
            create(connected, shape)
    made = migration.make_plan(odd, plan.Scope(tuple(shape.table for shape in shapes)))
    migration.apply(odd, made)
    roll_back(odd, made.run_id)
    with migration.connect(odd) as connected:
        run = Run(odd, str(made.run_id), connected)
        for shape in shapes:
            for purpose in ("check_values", "check_changes"):
                statement = run.statements[f"{purpose}__{shape.table}__stage"]
                values = {**OPTIONS, "run_id": made.run_id}
                found = migration.explained(connected, statement, values)
                for node in nodes_of(found):
                    if node["Node Type"] == "Nested Loop":
                        below = [each["Actual Rows"] * each["Actual Loops"]
                                 for each in node["Plans"]]  # fmt: skip
                        assert max(below) < ROWS * 10, (statement.name, node)


def test_the_table_is_read_once_and_in_parallel_if_nothing_is_wrong(migrated: App) -> None:
    ((run_id,),) = migrated.query("select run_id from trueup_ledger.migration_runs")
    assert explained(migrated, uuid.uuid4()) == []  # a run that is not there
    migrated.query("vacuum analyze deal_opportunities")
    assert explained(migrated, run_id) == [True]
    migrated.query("update deal_opportunities set stage = case id % 2 when 0 then 'Series A' end"
                   " where stage = 'seed'")  # fmt: skip
    assert len(explained(migrated, run_id)) == 3

"""In-place migration, the main path: plan, apply, resume, pause, cancel, status."""

from __future__ import annotations

import signal
import time

import pytest

from integration import migration
from integration.conftest import App
from trueup import plan
from trueup.errors import TrueupError

# Cells of the managed columns that are not what the generator says they mean.
WRONG = """
    select count(*) from (
        select s.resolution, s.canonical_value, n.raw_value
        from trueup_sample.spellings as s
        inner join (
            select stage as raw_value from portfoliocompanies
            union all select current_stage from portfoliocompanies
            union all select stage from deal_opportunities
            union all select round from investments
        ) as n on s.raw_value = n.raw_value
    ) as found
    where canonical_value is not null and raw_value <> canonical_value
"""
CELLS = """
    select 'portfoliocompanies', 'stage', id, stage from portfoliocompanies
    union all
    select 'portfoliocompanies', 'current_stage', id, current_stage from portfoliocompanies
    union all select 'deal_opportunities', 'stage', id, stage from deal_opportunities
    union all select 'investments', 'round', id, round from investments
    order by 1, 2, 3
"""


def test_a_plan_carried_out_makes_every_promised_cell_canonical(built: App) -> None:
    expected = {
        (table, column, int(key)): (raw if canonical is None else canonical)
        for table, column, key, raw, canonical in built.query(
            "select table_name, column_name, row_key, raw_value, canonical_value"
            " from trueup_sample.truth"
        )
    }
    before = {row[:3]: row[3] for row in built.query(CELLS)}
    made = migration.make_plan(built)
    outcome = migration.apply(built, made)

    after = {row[:3]: row[3] for row in built.query(CELLS)}
    assert after == expected
    changed = sum(before[cell] != after[cell] for cell in before)
    assert outcome.status == "completed" and not outcome.late and not outcome.missed
    assert changed == made.rows_planned == outcome.totals["rows_updated"] > 3000
    assert migration.books(built, made.run_id) == {
        "counters": changed, "audit": changed, "rows": changed
    }  # fmt: skip
    logged = {
        (table, column, int(key)): (was, now)
        for table, column, key, was, now in built.query(
            "select table_name, column_name, row_id, stage_before, stage_after"
            " from trueup_ledger.stage_normalization_log"
        )
    }
    assert logged == {
        cell: (before[cell], after[cell]) for cell in before if before[cell] != after[cell]
    }
    assert built.query(WRONG) == [(0,)]


def test_a_second_run_finds_nothing_and_writes_nothing(built: App) -> None:
    migration.apply(built, migration.make_plan(built))
    versions = "select id, xmin::text from portfoliocompanies order by id"
    before = built.query(versions)
    again = migration.make_plan(built)
    assert (again.rows_planned, again.batches) == (0, 0)
    assert migration.apply(built, again).status == "completed"
    assert built.query(versions) == before


def test_other_columns_and_row_versions_are_the_table_s_own(built: App) -> None:
    columns = "id, fund_id, name, sector, website, created_at"
    before = built.query(f"select {columns} from portfoliocompanies order by id")
    made = migration.make_plan(built)
    migration.apply(built, made)
    assert built.query(f"select {columns} from portfoliocompanies order by id") == before
    changes = built.query(
        "select row_version - 1, count(l.row_id) from portfoliocompanies as p left join"
        " trueup_ledger.stage_normalization_log as l"
        " on l.table_name = 'portfoliocompanies' and l.row_id = p.id::text"
        " group by p.id having row_version - 1 <> count(l.row_id)"
    )
    assert changes == []  # the trigger counted one version per change, we wrote none


@pytest.mark.parametrize(
    ("tenants", "condition"),
    [(("3",), "fund_id = 3"), (("none",), "fund_id is null"),
     (("1", "none"), "fund_id = 1 or fund_id is null")],
)  # fmt: skip
def test_only_the_tenants_that_were_asked_for(
    built: App, tenants: tuple[str, ...], condition: str
) -> None:
    outside = (
        f"select id, stage from portfoliocompanies where ({condition}) is not true order by id"
    )
    before = built.query(outside)
    scope = plan.Scope(("portfoliocompanies",), ("stage",), tenants)
    made = migration.make_plan(built, scope)
    outcome = migration.apply(built, made)
    assert outcome.status == "completed" and outcome.totals["rows_updated"] > 0
    assert built.query(outside) == before
    left = migration.make_plan(built, scope)
    assert left.rows_planned == 0


def test_contiguous_batches_and_hashed_stripes_do_the_same(built: App) -> None:
    for stripes in (1, 4):
        pace = plan.Pace(batch_size=200, sleep_ms=0, target_ms=1000, stripes=stripes)
        scope = plan.Scope(("portfoliocompanies",), ("stage" if stripes == 1 else "current_stage",))
        made = migration.make_plan(built, scope, pace)
        assert made.columns[0].stripes == stripes
        assert migration.apply(built, made).totals["rows_updated"] == made.rows_planned > 0


def test_keys_in_steps_are_hashed(built: App) -> None:
    built.query("alter table investments drop constraint investments_pkey cascade")
    built.query("update investments set id = -id * 8")
    built.query("alter table investments add primary key (id)")
    pace = plan.Pace(batch_size=30, sleep_ms=0, target_ms=1000, stripes=8)
    made = migration.make_plan(built, plan.Scope(("investments",)), pace)
    assert made.columns[0].hashed
    sizes = built.query(
        "select count(*), max(rows_in_batch), sum(rows_in_batch)"
        " from trueup_ledger.stage_migration_batches where run_id = %s", made.run_id
    )  # fmt: skip
    ((batches, largest, total),) = sizes
    assert total == 300 and batches >= 16 and largest <= 60
    assert migration.apply(built, made).totals["rows_updated"] == made.rows_planned > 0


def test_a_plan_changes_no_row_and_is_whole_or_not_there(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = built.query(CELLS)

    def fail(*arguments: object) -> str:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(plan, "_digest", fail)
        with pytest.raises(RuntimeError):
            migration.make_plan(built)
    tables = ("migration_runs", "migration_value_map", "migration_baselines",
              "stage_migration_batches", "stage_migration_control")  # fmt: skip
    for table in tables:
        assert built.query(f"select count(*) from trueup_ledger.{table}") == [(0,)], table
    made = migration.make_plan(built)
    assert built.query(CELLS) == before
    baseline = built.query(
        "select sum(rows), sum(nulls), sum(blanks) from trueup_ledger.migration_baselines"
        " where run_id = %s and table_name = 'portfoliocompanies' and column_name = 'stage'",
        made.run_id,
    )
    assert baseline[0][:2] == (3000, 0)


def test_the_command_from_plan_to_status(built: App) -> None:
    code, out, err = migration.done(built, "plan", "--batch-size", "500")
    assert code == 0, err
    assert "[WARN] Found" in out and "Nothing has been changed" in out
    code, out, err = migration.done(built, "apply")
    assert code == 2 and "nobody is there to answer" in err
    code, out, err = migration.done(built, "apply", "--yes", "--sleep-ms", "0")
    assert code == 0, err + out
    assert "[INFO] Processing batch 1/" in out and '"rowsUpdated":' in out
    assert "[INFO] Migration completed {" in out
    code, out, err = migration.done(built, "status")
    assert code == 0 and "completed" in out and "100.00 %" in out
    code, out, err = migration.done(built, "runs")
    assert code == 0 and "completed" in out
    code, out, err = migration.done(built, "apply", "--yes")
    assert code == 2 and "no run is planned" in err


def test_ctrl_c_finishes_the_batch_and_resume_goes_on(built: App) -> None:
    made = migration.make_plan(built, pace=plan.Pace(100, 50, 1000))
    process = migration.command(built, "apply", "--yes")
    _wait_for_batches(built, 5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "trueup resume" in out and "Traceback" not in err
    assert _statuses(built, made) == {"completed", "pending"}
    code, out, err = migration.done(built, "resume", "--yes", "--sleep-ms", "0")
    assert code == 0, err
    assert migration.books(built, made.run_id)["audit"] == made.rows_planned


def test_a_row_in_the_ledger_pauses_a_run_and_the_command_cancels_one(built: App) -> None:
    made = migration.make_plan(built, pace=plan.Pace(100, 50, 1000))
    process = migration.command(built, "apply", "--yes")
    _wait_for_batches(built, 3)
    built.query("update trueup_ledger.stage_migration_control set requested_status = 'paused'")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "is paused" in out
    code, out, err = migration.done(built, "cancel", str(made.run_id)[:8], "--yes")
    assert code == 0 and "it is cancelled now" in out, err
    assert _statuses(built, made) == {"completed", "cancelled"}
    code, out, err = migration.done(built, "resume", str(made.run_id)[:8], "--yes")
    assert code == 2 and "is cancelled" in err
    assert migration.make_plan(built).rows_planned > 0  # a new plan does not trip over the old one


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update trueup_ledger.migration_runs set planned_at = now() - interval '25 hours'",
         "older than 24 hours"),
        ("update trueup.dim_vocabularies set vocabulary_version = 'other'", "vocabulary has chang"),
        ("update trueup_ledger.migration_runs set sources_sha256 = 'x'", "have changed since"),
        ("update trueup_ledger.migration_runs set statements ="
         " jsonb_set(statements, '{begin_batch,sql}', '\"select 1\"')",
         "not those that were planned"),
    ],
)  # fmt: skip
def test_a_stale_plan_is_refused(built: App, change: str, reason: str) -> None:
    before = built.query(CELLS)
    migration.make_plan(built)
    built.query(change)
    code, _out, err = migration.done(built, "apply", "--yes")
    assert code == 2 and reason in err and "trueup plan" in err
    assert built.query(CELLS) == before


def test_two_runners_one_works(built: App) -> None:
    made = migration.make_plan(built, pace=plan.Pace(100, 50, 1000))
    process = migration.command(built, "apply", "--yes")
    _wait_for_batches(built, 2)
    code, _, err = migration.done(built, "resume", str(made.run_id), "--yes")
    assert code == 2 and f"process {process.pid}" in err
    with pytest.raises(TrueupError, match=f"process {process.pid}"):
        migration.apply(built, made)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_rows_written_since_the_plan_are_changed_or_reported(built: App) -> None:
    made = migration.make_plan(built, plan.Scope(("deal_opportunities",)))
    columns = made.columns[0].values
    spelling = next(value for value in columns if value.after)
    built.query("update deal_opportunities set stage = %s where id in (1, 2, 3)", spelling.before)
    built.query("update deal_opportunities set stage = 'SeEd   RouNd!' where id = 4")
    built.query("update deal_opportunities set stage = 'nobody knows' where id = 5")
    outcome = migration.apply(built, made)
    rows = dict(built.query("select id, stage from deal_opportunities where id < 6"))
    assert {rows[1], rows[2], rows[3]} == {spelling.after}
    assert (rows[4], rows[5]) == ("SeEd   RouNd!", "nobody knows")
    assert {left.value for left in outcome.late} == {"SeEd   RouNd!", "nobody knows"}
    assert outcome.status == "completed"


def test_a_key_to_resume_from(built: App) -> None:
    pace = plan.Pace(batch_size=50, sleep_ms=50, target_ms=1000, stripes=1)
    made = migration.make_plan(built, plan.Scope(("deal_opportunities",)), pace)
    process = migration.command(built, "apply", "--yes")
    _wait_for_batches(built, 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    before = dict(built.query("select id, stage from deal_opportunities where id <= 475"))
    code, _, err = migration.done(built, "resume", "--yes", "--resume-from", "475")
    after = dict(built.query("select id, stage from deal_opportunities where id <= 475"))
    assert code == 1, err  # promised rows were left out
    assert after == before
    assert _statuses(built, made) == {"completed", "cancelled"}
    left = plan.Scope(("deal_opportunities",))
    remaining = migration.make_plan(built, left)
    ends = built.query(
        "select max((range_end)[1]::int) from trueup_ledger.stage_migration_batches"
        " where run_id = %s and rows_planned > 0", remaining.run_id,
    )  # fmt: skip
    assert remaining.rows_planned > 0 and ends
    dirty = built.query(
        "select count(*) from deal_opportunities as d inner join trueup_ledger.migration_value_map"
        " as m on m.value_before = d.stage and m.run_id = %s and m.map_id is not null"
        " where d.id > 475", made.run_id,
    )  # fmt: skip
    assert dirty == [(0,)]
    for wrong, words in (("x", "is no key"), ("1,2", "is no key")):
        code, _, err = migration.done(built, "resume", "--yes", "--resume-from", wrong)
        assert code == 2 and words in err


def _statuses(app: App, made: plan.Plan) -> set[str]:
    return {
        status
        for (status,) in app.query(
            "select distinct status from trueup_ledger.stage_migration_batches where run_id = %s",
            made.run_id,
        )
    }


def _wait_for_batches(app: App, count: int) -> None:
    until = time.monotonic() + 60
    query = "select count(*) from trueup_ledger.stage_migration_batches where status = 'completed'"
    while app.query(query)[0][0] < count:
        assert time.monotonic() < until
        time.sleep(0.05)

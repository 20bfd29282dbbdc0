"""A kind of run that nobody has thought of: two tables, a transaction for each document."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from integration.conftest import App, new_app
from support import fire, migration
from support.fire import LEDGER
from trueup.core import runs, statements
from trueup.migration import plan

PLACE = ("toy_documents", "body")
TABLES = """
create table public.toy_documents (id bigint primary key, body jsonb);
create table public.toy_orders (
    id bigint primary key, customer text check (customer <> 'refused'),
    at timestamptz default '2026-01-01 01:00+00'
);
create table public.toy_items (
    id text primary key, order_id bigint not null references public.toy_orders on delete restrict,
    name text
);
create function public.slow() returns trigger language plpgsql as $$ begin
    perform pg_sleep(case when tg_op <> 'INSERT' then 0.02 when new.id = 7 then 2 else 0.05 end);
    return coalesce(new, old);
end $$;
create trigger slow before insert or update or delete on toy_orders
    for each row execute function public.slow();
insert into toy_documents select n, jsonb_build_object(
    'customer', case n when 13 then 'refused' else 'c' || n end,
    'items', jsonb_build_array('a', 'b')
) from generate_series(0, 79) as n;
insert into toy_orders select n, 'older' from generate_series(20, 79, 2) as n;
insert into toy_orders values (100, 'of another system');
"""
AUDITED = f"select count(*) from {LEDGER}.migration_audit where run_id = %s"
ROWS = 79 * 3  # an order and two items of each document but the refused one


def contents(app: App) -> dict[str, str]:
    """Every row of the two tables."""
    rows = app.query(
        "select 'order ' || id, cast(o as text) from toy_orders as o"
        " union all select 'item ' || id, cast(i as text) from toy_items as i"
    )
    return dict(rows)


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[App]:
    """The built sample with the toy's tables and statements, and with short leases."""
    with new_app(tmp_path, "built_template", "project/.trueup") as app:
        shutil.copy(Path(__file__).with_name("toy") / "toy.sql", app.project / "analyses")
        path = app.project / "dbt_project.yml"
        path.write_text(path.read_text().replace("lease_seconds: 15", "lease_seconds: 1"))
        app.query(TABLES)
        yield app


def plan_toy(app: App) -> UUID:
    with migration.connect(app) as connected:
        found = statements.statements(app.settings)
        record = plan.kind(connected, found, "toy")
        own = plan.own_statements(found, record, [PLACE])
        options = {"tables": [PLACE[0]], "columns": [PLACE[1]], "tenants": None, "batch_size": 10,
                   "by_tenant": False}  # fmt: skip
        run_id = plan.store_run(app.settings, connected, found, "toy", record, own, options)
        for name in runs.named(found, record, "plan", PLACE):
            found[name].run(connected, run_id=run_id)
        found["run__store_control"].run(
            connected, run_id=run_id, table_name=PLACE[0], column_name=PLACE[1], range_end=["79"],
            target_ms=50, sleep_ms=0, workers=1,
        )  # fmt: skip
        plan.seal(connected, found, run_id)
        connected.commit()
    assert "apply_batch__investments__round" not in own and "toy_items" in own
    return run_id


def done(app: App, code: int, *arguments: str, **environ: str) -> str:
    """What a command prints; of --format json only the document."""
    ended, out, err = migration.done(app, *arguments, **environ)
    assert ended == code, (arguments, out, err)
    return out if arguments[-1] == "json" else out + err


def kill(app: App, watch: fire.Connection, rows: int, *arguments: str) -> None:
    """Kill a command that works with two workers when it has done half of these rows."""
    query = f"select count(*) from {LEDGER}.migration_audit"
    until = fire.one(watch, query) + rows // 2
    process = migration.command(app, *arguments, "--yes", "--workers", "2")
    running = f"select count(*) from {LEDGER}.stage_migration_batches where status = 'running'"
    fire.until(lambda: fire.one(watch, running) == 2)
    fire.until(lambda: fire.one(watch, query) >= until)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    fire.let_time_pass(watch, hours=1)


def test_a_kind_that_writes_whole_rows(toy: App) -> None:
    before = contents(toy)
    run = str(plan_toy(toy))
    assert "no plan that was not started" in done(toy, 2, "apply", "--yes")  # not by itself
    with fire.superuser(toy) as watch:
        process = migration.command(toy, "apply", run, "--yes")
        slow = (
            "select max(clock_timestamp() - xact_start) > '1.4 s' from pg_stat_activity"
            " where application_name = 'trueup apply' and datname = current_database()"
        )
        fire.until(lambda: fire.one(watch, slow))  # longer than a lease
        assert f"process {process.pid}" in done(toy, 2, "resume", run, "--yes")
        done(toy, 0, "pause")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1 and "Toy paused" in out, out + err
        kill(toy, watch, ROWS - fire.one(watch, AUDITED, run), "resume")
    assert "cannot skip keys" in done(toy, 2, "resume", "--yes", "--resume-from", "9")
    out = done(toy, 1, "resume", "--yes", PGTZ="Asia/Tokyo")
    assert "promised rows were not written" in out and "are for a new plan" in out
    verdict = json.loads(done(toy, 1, "verify", run, "--format", "json"))
    assert [(each["code"], each["status"]) for each in verdict["checks"]] == [
        ("batch_tracking", "fail")  # a unit was refused, and its kind asks for nothing else
    ]
    refused = toy.query(f"select row_key, sqlstate from {LEDGER}.migration_quarantine")
    assert refused == [("13", "23514")]
    written = contents(toy)
    assert len(written) == 1 + ROWS and not any("13" in key.split("-")[0] for key in written)
    counted = f"select sum(rows_updated) from {LEDGER}.stage_migration_batches"
    assert toy.query(counted) == toy.query(AUDITED, run) == [(ROWS,)]
    assert toy.query(f"select * from {LEDGER}.stage_normalization_log") == []

    # a command that cannot work on this kind does not choose its runs
    picked = f"update {LEDGER}.migration_runs set record = jsonb_set(record, '{{rules,picked_by}}',"
    ((known,),) = toy.query(f"select record from {LEDGER}.migration_runs")
    toy.query(picked + " '[]')")
    assert "there is no unfinished run" in done(toy, 2, "resume", "--yes")
    assert "no run has started yet" in done(toy, 2, "report", "--no-verify")
    assert "There is no run yet" in done(toy, 0, "status") and "toy" in done(toy, 0, "runs")
    toy.query(f"{picked} '{json.dumps(known['rules']['picked_by'])}')")

    report = json.loads(done(toy, 0, "report", "--no-verify", "--format", "json"))
    assert report["run"]["kind"] == "toy" and report["totals"]["rows_updated"] == ROWS
    assert report["audit"]["rows_audited"] == ROWS and len(report["sample"]) == 12
    page = toy.project / "toy.html"
    done(toy, 0, "report", run, "--no-verify", "--output", str(page))
    assert "written" in page.read_text("utf-8")

    # other users edit an item, delete one, add one; what these refer to stays
    edits = {"item 3-1": "(3-1,3,edited)", "item new": "(new,5,new)",
             "item 79-1": "(79-1,79,edited)"}  # fmt: skip
    toy.query("update toy_items set name = 'edited' where id = '3-1'")
    toy.query("delete from toy_items where id = '4-1'")
    toy.query("insert into toy_items values ('new', 5, 'new')")
    done(toy, 0, "cancel", "--yes")
    assert "has no tenant column" in done(toy, 2, "rollback", run, "--dry-run", "--tenant", "7")
    said = json.loads(done(toy, 0, "rollback", run, "--dry-run", "--format", "json"))
    assert said["reasons"] == {"edited": 1, "deleted": 1, "still referenced": 2}
    assert said["rows"] == ROWS - 4
    with fire.superuser(toy) as watch, psycopg.connect(toy.url) as editor:
        editor.execute("update toy_items set name = 'edited' where id = '79-1'")

        def commit() -> None:
            fire.until(lambda: fire.somebody_waits(toy))
            editor.commit()

        waiting = threading.Thread(target=commit)
        waiting.start()
        kill(toy, watch, ROWS, "rollback", run)
        waiting.join()
    assert "6 rows were left alone" in (out := done(toy, 0, "resume", "--yes")), out
    kept = ("item 3-1", "order 3", "item new", "order 5", "item 79-1", "order 79")
    assert contents(toy) == before | {key: (written | edits)[key] for key in kept}
    left = f"select reason, count(*) from {LEDGER}.migration_conflicts group by reason"
    assert dict(toy.query(left)) == {"edited": 2, "deleted": 1, "still referenced": 3}

    # it is kept as long as it may be needed: the rollback is rolled back
    toy.query(
        f"update {LEDGER}.migration_runs set planned_at = planned_at - interval '100 days',"
        " finished_at = finished_at - interval '100 days'"
    )
    migration.make_plan(toy, plan.Scope(("investments",)))
    done(toy, 0, "ledger", "prune", "--older-than", "90d", "--yes")
    ((back,),) = toy.query(f"select run_id from {LEDGER}.migration_runs where kind = 'undo'")
    done(toy, 0, "rollback", str(back), "--yes")
    del written["item 4-1"]
    assert contents(toy) == written | edits

"""In-place migration under fire: kills, lost connections, takeovers, a writing application.

Every test ends with the same question: is each row what an independent model says, was each
change written down exactly once, and do the batch counters agree?
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from integration.conftest import App
from support import PROOFS, fire, migration, proxies, standby
from support.command import remove_server
from support.fire import LEDGER
from support.migration import agree, batch_statuses, run_statuses
from support.writers import WRITERS, Writer, audit_of, table, watch_blocking, writes_of
from trueup.core import connection
from trueup.local import server
from trueup.migration import engine, plan, session
from trueup.migration import runner as job

ROWS, KILLS, TERMINATIONS = (100_000, 50, 50) if PROOFS else (3000, 4, 2)
WRITER_SECONDS = 60 if PROOFS else 3
STOPPED = 4 if PROOFS else 2  # runners, one after the other
STAGE = plan.Scope(("portfoliocompanies",), ("stage",))


@pytest.fixture
def quick(built: App) -> App:
    """The built sample with leases so short that a test can wait for them."""
    path = built.project / "dbt_project.yml"
    text = path.read_text("utf-8")
    path.write_text(
        text.replace("lease_seconds: 15", f"lease_seconds: {fire.LEASE_SECONDS}"), "utf-8"
    )
    assert plan.defaults(built.settings)["lease_seconds"] == fire.LEASE_SECONDS
    return built


# ------------------------------------------------------------------------------ the proofs


def test_kills_and_terminations(quick: App) -> None:
    """Proof 1: whenever the runner or its backend dies, nothing is lost or done twice."""
    rng = random.Random(fire.SEED)
    print(f"seed {fire.SEED}")
    if ROWS > 3000:
        fire.enlarge(quick, ROWS)
    fire.remember(quick)
    made = migration.make_plan(quick, STAGE, plan.Pace(50, 8 if PROOFS else 200, 1000, stripes=8))
    run = str(made.run_id)
    terminated = at_work = 0
    progress = [0]
    with fire.superuser(quick) as watch:
        for kill in range(KILLS):
            verb = "apply" if fire.status_of(watch, made.run_id) == "planned" else "resume"
            process = migration.command(quick, verb, run, "--yes")
            try:
                if kill % 10 == 1:  # some before they have done anything
                    time.sleep(rng.uniform(0, 0.6))
                else:
                    fire.wait_for_lease(watch, process)
                    for longest in (0.2, 0.1) if terminated < TERMINATIONS else ():
                        time.sleep(rng.uniform(0, longest))
                        terminated += fire.terminate(watch)
                    fire.until(lambda: fire.completed(watch) > progress[-1])
                    time.sleep(rng.uniform(0, 0.25))
            finally:
                process.kill()
                process.communicate()
            at_work += fire.one(watch, f"select count(*) > 0 from {LEDGER}.stage_migration_batches"
                                  " where status = 'running'")  # fmt: skip
            progress.append(fire.completed(watch))
            fire.let_time_pass(watch)
    print(f"{KILLS} kills, {at_work} at work; {terminated} terminations; batches {progress}")
    assert terminated >= TERMINATIONS and at_work > 0
    assert progress[-1] < made.batches
    migration.printed(quick, "resume", run, "--yes", "--sleep-ms", "0")
    fire.prove(quick, made)
    assert made.rows_planned > ROWS * 0.4


@pytest.mark.proofs
def test_crashes_of_the_server(quick: App, tmp_path: Path) -> None:
    """Whenever it stops at once and starts again: what it forgets, it forgets whole.

    Batches do not wait for the disk, so some that were finished are open again.
    """
    rng = random.Random(fire.SEED)
    state = tmp_path / "crashing"
    address = server.start(state)
    try:
        with psycopg.connect(address.conninfo(), user=server.SUPERUSER, autocommit=True) as root:
            root.execute(f"create database {quick.database} owner {address.user}")
        target = make_conninfo(address.conninfo(quick.database), user=server.SUPERUSER)
        standby.copy_database(quick.url, target, address.user)
        moved = {
            "PGPORT": str(address.port),
            "PGUSER": address.user,
            "PGPASSWORD": address.password,
        }
        app = dataclasses.replace(quick, environment={**quick.environment, **moved})
        fire.enlarge(app, 20_000)
        fire.remember(app)
        made = migration.make_plan(app, STAGE, plan.Pace(50, 20, 1000, stripes=8))
        settings = dataclasses.replace(app.settings, conninfo=app.url)
        seen: list[str] = []
        over = threading.Event()
        crashes = 0

        def crash() -> None:
            nonlocal crashes
            while not over.wait(rng.uniform(0.5, 2)):
                pid = (server.home(state) / "pgdata" / "postmaster.pid").read_text().split()[0]
                os.kill(int(pid), signal.SIGQUIT)  # as pg_ctl stop -m immediate does
                fire.until(lambda pid=pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
                server.start(state, port=address.port)
                crashes += 1

        crashing = threading.Thread(target=crash)
        crashing.start()
        try:
            outcome = engine.apply(
                lambda: connection.connect(settings), migration.order(app, made),
                lambda event: seen.append(event.kind), engine.Stop(),
            )  # fmt: skip
        finally:
            over.set()
            crashing.join()
        again = seen.count("batch_completed") - made.batches
        print(f"seed {fire.SEED}: {crashes} crashes, {again} batches done again")
        assert outcome.status == "completed" and crashes >= 5
        fire.prove(app, made)
    finally:
        remove_server(state)


def test_four_writers_lose_nothing(quick: App) -> None:
    """Proof 2: the application goes on writing, holding locks and deleting while batches run."""
    print(f"seed {fire.SEED}")
    fire.enlarge(quick, 5000)
    fire.slow_down(quick, 0.0002)
    spellings = dict(quick.query("select raw_value, canonical_value from trueup_sample.spellings"
                                " where raw_value is not null"))  # fmt: skip
    rows = quick.query("select id, stage, name, fund_id, website from portfoliocompanies")
    deadline = time.monotonic() + WRITER_SECONDS
    writers = [
        Writer(quick, number, [row for row in rows if row[0] % WRITERS == number],
               spellings, deadline)
        for number in range(WRITERS)
    ]  # fmt: skip
    blocked: list[float] = []
    watcher = threading.Thread(target=watch_blocking, args=(quick, deadline, blocked))
    for thread in (*writers, watcher):
        thread.start()
    outcomes = []
    while time.monotonic() < deadline:
        made = migration.make_plan(quick, STAGE, plan.Pace(1000, 0, 200))
        outcomes.append(migration.apply(quick, made))
    for thread in (*writers, watcher):
        thread.join()

    assert [writer.error for writer in writers] == [None] * WRITERS
    changed = sum(outcome.totals["rows_updated"] for outcome in outcomes)
    print(f"{sum(writer.commits for writer in writers)} commits; {len(outcomes)} runs changed"
          f" {changed} rows; blocked by us for at most {max(blocked):.3f} s")  # fmt: skip
    assert {outcome.status for outcome in outcomes} <= {"completed", "completed_with_failures"}
    assert all(writer.commits for writer in writers) and changed > 1000
    assert max(blocked) < 5  # the server ends the transaction of a batch after 1.6 s
    last = writes_of(writers)
    audited = audit_of(quick)
    for number in range(2):  # as they left it, and after one more run
        found = table(quick)
        assert found.keys() == last.keys()
        for key, row in found.items():
            stage, *others, updates = row
            was, *other_columns, written_updates = last[key]
            meant = spellings.get(was) or was
            assert others == other_columns, key
            assert stage in ((was, meant), (meant,))[number], (key, stage, was)
            changes = audited.get(key, [])
            if stage != was:
                assert changes[-1] == (was, stage), (key, changes)
            if not any(key in writer.reborn for writer in writers):
                assert updates == written_updates + len(changes), (key, updates, changes)
        final = migration.make_plan(quick, STAGE, plan.Pace(1000, 0, 200))
        assert migration.apply(quick, final).status == "completed"
        audited = audit_of(quick)


def test_of_two_runners_started_at_once_one_works(quick: App) -> None:
    """Proof 5, first half."""
    fire.remember(quick)
    made = migration.make_plan(quick, STAGE, plan.Pace(50, 20, 1000))
    run = str(made.run_id)
    for verb, status in (("apply", "interrupted"), ("resume", "completed")):
        # resume takes runs that somebody works on, apply those that nobody began
        both = [migration.command(quick, verb, run, "--yes") for _ in range(2)]
        with fire.superuser(quick) as watch:
            fire.until(lambda: sum(each.poll() is not None for each in both) == 1)  # noqa: B023
            loser, winner = sorted(both, key=lambda process: process.poll() is None)
            out, err = loser.communicate()
            assert loser.returncode == 2, out + err
            if verb == "resume":
                assert f"process {winner.pid}" in err
            else:  # or it was begun before the second looked
                assert f"process {winner.pid}" in err or "is running" in err
            if status == "interrupted":
                fire.wait_for_lease(watch, winner)
                winner.send_signal(signal.SIGINT)
        out, err = winner.communicate(timeout=60)
        assert winner.returncode == (0 if status == "completed" else 1), err
        assert run_statuses(quick) == [status]
    fire.prove(quick, made)


@pytest.mark.proofs
def test_saves_of_both_columns_are_no_false_alarm(
    quick: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 saves a second, while run after run changes both managed columns of the same rows."""
    monkeypatch.setattr(engine, "PASSES", 1)  # no second look repairs anything
    until = time.monotonic() + float(os.environ.get("TRUEUP_SAVING", "300"))
    values = [
        value
        for (value,) in quick.query(
            "select raw_value from trueup_sample.spellings where raw_value is not null"
        )
    ]
    errors: list[Exception] = []

    def save(number: int) -> None:
        rng = random.Random(fire.SEED + number)
        try:
            with migration.connect(quick, autocommit=True) as connected:
                while time.monotonic() < until:
                    connected.execute(
                        "update portfoliocompanies set stage = %s, current_stage = %s"
                        " where id = %s", [*rng.choices(values, k=2), rng.randint(1, 3000)],
                    )  # fmt: skip
                    time.sleep(0.01)
        except Exception as error:
            errors.append(error)

    savers = [threading.Thread(target=save, args=(number,)) for number in range(2)]
    for saver in savers:
        saver.start()
    changed: list[int] = []
    while time.monotonic() < until:
        made = migration.make_plan(
            quick, plan.Scope(("portfoliocompanies",)), plan.Pace(100, 0, 1000, workers=2)
        )
        outcome = migration.apply(quick, made)
        assert (outcome.status, outcome.missed) == ("completed", [])
        changed.append(outcome.totals["rows_updated"])
    for saver in savers:
        saver.join()
    print(f"{len(changed)} runs changed {sum(changed)} rows")
    assert not errors and sum(changed) > 1000


@pytest.mark.parametrize(
    "comes_back", ["meanwhile", pytest.param("afterwards", marks=pytest.mark.proofs)]
)
def test_a_stopped_runner_is_replaced_and_changes_nothing(quick: App, comes_back: str) -> None:
    """Proof 5, second half: SIGSTOP is a machine that hangs, SIGCONT its return."""
    rng = random.Random(fire.SEED)
    print(f"seed {fire.SEED}")
    fire.remember(quick)
    made = migration.make_plan(quick, STAGE, plan.Pace(25, 20, 1000, stripes=8))
    run = str(made.run_id)
    stopped: list[subprocess.Popen[str]] = []
    with fire.superuser(quick) as watch:
        for number in range(STOPPED):
            process = migration.command(quick, "resume" if number else "apply", run, "--yes")
            stopped.append(process)
            fire.wait_for_lease(watch, process)
            time.sleep(rng.uniform(0.05, 0.4))
            process.send_signal(signal.SIGSTOP)
            fire.until(lambda: fire.lease_is_over(watch))
        last = migration.command(quick, "resume", run, "--yes")
        if comes_back == "afterwards":
            out, err = last.communicate(timeout=60)
        else:
            fire.wait_for_lease(watch, last)
        before = fire.changes_of(quick)
        for process in stopped:
            process.send_signal(signal.SIGCONT)
            gone, said = process.communicate(timeout=60)
            assert process.returncode == 1, gone + said
            assert "another runner has taken run" in said and "Traceback" not in said
        if comes_back == "afterwards":
            assert fire.changes_of(quick) == before
        else:
            out, err = last.communicate(timeout=60)
        assert last.returncode == 0, err + out
        assert fire.status_of(watch, made.run_id) == "completed"
    fire.prove(quick, made)


def test_a_killed_runner_s_lease_ends_by_itself(quick: App) -> None:
    fire.remember(quick)
    made = migration.make_plan(quick, STAGE, plan.Pace(50, 20, 1000, stripes=8))
    process = migration.command(quick, "apply", "--yes")
    with fire.superuser(quick) as watch:
        fire.wait_for_lease(watch, process)
        fire.until(lambda: fire.completed(watch) > 0)
        process.kill()
        process.communicate()
        watch.execute(f"update {LEDGER}.stage_migration_control"
                      " set lease_until = now() + interval '3 s'")  # fmt: skip
        code, _, err = migration.done(quick, "resume", "--yes", "--sleep-ms", "7",
                                      "--resume-from", "1000000")  # fmt: skip
        assert code == 2 and f"process {process.pid}" in err
        # who is refused has changed nothing, neither the pace of the run nor its batches
        assert fire.one(watch, f"select sleep_ms from {LEDGER}.stage_migration_control") == 20
        assert "cancelled" not in batch_statuses(quick, made.run_id)
        fire.until(lambda: fire.lease_is_over(watch))
    # whatever it held is taken over with the run, even where it had promised to be heard of later
    quick.query(f"update {LEDGER}.stage_migration_batches set lease_until = now() + interval '1 h'"
               " where status = 'running'")  # fmt: skip
    migration.printed(quick, "resume", "--yes", "--sleep-ms", "0")
    fire.prove(quick, made)


def test_a_dead_runner_s_last_batch_is_not_the_end_of_its_run(quick: App) -> None:
    """Its transaction commits while the next runner claims the batch: then it gets the next one."""
    made = migration.make_plan(quick, STAGE, plan.Pace(500, 0, 1000, stripes=1))
    order = migration.order(quick, made)
    hold = {"run_id": made.run_id, "lease_token": UUID(int=7), "lease_seconds": 60}
    first = "batch_id = (select min(batch_id) from stage_migration_batches)"
    claimed: list[Any] = []
    with migration.connect(quick) as dead, migration.connect(quick) as runner:
        order.statements["run__take_lease"].run(
            runner, **hold, lease_owner="the next one", statuses=["planned"]
        )
        runner.commit()
        dead.execute(f"set search_path = {LEDGER}".encode())
        dead.execute(
            f"update stage_migration_batches set status = 'running' where {first}".encode()
        )
        dead.commit()
        dead.execute(
            f"update stage_migration_batches set status = 'completed' where {first}".encode()
        )

        def claim() -> None:
            claims = order.statements["run__claim_ranges"]
            claimed.extend(claims.run(runner, **hold, held_batches=[], ranges=1))

        waiting = threading.Thread(target=claim)
        waiting.start()
        fire.until(lambda: fire.somebody_waits(quick))
        dead.commit()
        waiting.join()
        runner.rollback()
    assert [row[4] for row in claimed], "nothing is left to do, it seems"


# ---------------------------------------------------------------- fences, seen from the lost side


@pytest.mark.parametrize(
    ("how", "status", "last"),
    [("pause", "paused", 3), ("cancel", "cancelled", 8), ("apply", "completed", 3)],
)
def test_a_runner_that_hung_does_not_come_back_to_a_run_that_was_ended(
    built: App, how: str, status: str, last: int
) -> None:
    """In a range and between two; what the application has written since stays as it is."""
    fire.remember(built)
    made = migration.make_plan(built, STAGE, plan.Pace(50, 0, 1000, stripes=8))
    before: list[Any] = []

    def end(event: engine.Event) -> None:
        if event.kind != "batch_completed" or f"Batch {last} " not in event.message or before:
            return
        fire.let_time_pass(built.connect(), hours=1)
        if how == "apply":
            assert migration.apply(built, made).status == status
        else:
            yes = ["--yes"] if how == "cancel" else []
            code, out, err = migration.done(built, how, str(made.run_id), *yes)
            assert code == 0 and f"is {status} now" in out, err
        # what a look back would find
        built.query(
            "update portfoliocompanies as p set stage = m.stage_before from chaos_model as m"
            " where m.id = p.id and p.stage <> m.stage_before"
        )
        before.extend(fire.changes_of(built))

    with pytest.raises(engine.LeaseLost):
        migration.apply(built, made, end, lease_seconds=3600)
    assert before and fire.changes_of(built) == before
    assert run_statuses(built) == [status]
    assert built.query("select count(*) from portfoliocompanies as p inner join chaos_model as m"
                       " using (id) where p.stage <> m.stage_before") == [(0,)]  # fmt: skip


@pytest.mark.parametrize("kind", ["migrate", "rollback"])
def test_a_runner_whose_batch_was_taken_writes_nothing(built: App, kind: str) -> None:
    """The fence: its own clock says that the lease holds for long, but the batch is another's."""
    made = migration.make_plan(built, STAGE, plan.Pace(200, 0, 1000))
    run: Any = made
    if kind == "rollback":
        migration.apply(built, made)
        run = migration.take_back(built, made.run_id)
    before: list[Any] = []

    def take(event: engine.Event) -> None:
        if event.kind == "batch_started" and "Processing batch 4/" in event.message:
            built.query(
                f"update {LEDGER}.stage_migration_batches set lease_token = gen_random_uuid()"
                " where status = 'running'"
            )
            before.extend(built.query("select * from portfoliocompanies order by id"))

    with pytest.raises(engine.LeaseLost):
        migration.apply(built, run, take, lease_seconds=3600)
    assert before == built.query("select * from portfoliocompanies order by id") != []
    audited = f"select sum(cardinality(row_keys)), count(distinct batch_id) from {LEDGER}"
    counted = f"select sum(rows_updated), 3 from {LEDGER}.stage_migration_batches where run_id = %s"
    assert built.query(f"{audited}.stage_normalization_changes where run_id = %s", run.run_id) == (
        built.query(counted, run.run_id)
    )


def test_a_runner_that_lost_the_run_does_not_speak_for_it(built: App) -> None:
    """It wakes up between its last batch and its last word; somebody else works on the run."""
    made = migration.make_plan(built, STAGE, plan.Pace(500, 0, 1000))
    stop = engine.Stop()
    theirs = UUID(int=7)

    def lose(event: engine.Event) -> None:
        if event.kind == "batch_completed" and not stop.requested:
            built.query(f"update {LEDGER}.stage_migration_control set lease_token = %s,"
                        " lease_owner = 'somebody else'", theirs)  # fmt: skip
            built.query(f"update {LEDGER}.stage_migration_batches set lease_token = %s"
                        " where status = 'running'", theirs)  # fmt: skip
            stop.requested = True

    with pytest.raises(engine.LeaseLost):
        migration.apply(built, made, lose, stop, lease_seconds=3600)
    assert run_statuses(built) == ["running"]
    control = built.query(f"select lease_token, status from {LEDGER}.stage_migration_control")
    assert control == [(theirs, "running")]


# ------------------------------------------------------------- connections that are cut at COMMIT


def test_a_connection_cut_at_any_commit(built: App) -> None:
    """Neither counted twice nor taken for a lost lease, whichever COMMIT it is.

    One row is refused, so that the statements of the quarantine are among them.
    """
    ways = ("answer lost", "never sent", "late", "very late")
    built.query("create table chaos_rounds as select id, round as stage from investments")
    ((key, value),) = built.query(
        "select i.id, i.round from investments as i inner join trueup_sample.spellings as s"
        " on s.raw_value = i.round where s.canonical_value <> i.round order by i.id limit 1"
    )
    built.query("create function poison() returns trigger language plpgsql as"
                " $$ begin raise exception 'frozen'; end $$")  # fmt: skip
    built.query(
        "create trigger poison before update on investments for each row"
        f" when (new.id = {key} and new.round <> '{value}') execute function poison()"
    )
    pace = plan.Pace(100, 0, 1000, stripes=2)
    host, port = built.environment["PGHOST"], int(built.environment["PGPORT"])
    with proxies.bad_line(host, port) as line:
        url = built.url.replace(f"@{host}:{port}/", f"@127.0.0.1:{line.port}/")
        number = 0
        while line.seen >= number:  # once uncut, to count
            for how in ways if PROOFS else [ways[number % 4]]:
                built.query("update investments as i set round = c.stage from chaos_rounds as c"
                            " where c.id = i.id and i.round is distinct from c.stage")  # fmt: skip
                made = migration.make_plan(built, plan.Scope(("investments",)), pace)
                order = migration.order(built, made, lease_seconds=3600, lock_timeout_ms=100)
                line.seen, line.at = 0, (number, how)
                outcome = engine.apply(lambda: fire.reconnect(url), order, lambda event: None,
                                       engine.Stop())  # fmt: skip
                what = f"{how}, COMMIT {number} of {line.seen}"
                assert outcome.status == "completed_with_failures", (what, outcome)
                assert outcome.totals["rows_failed"] == 1, (what, outcome)
                assert batch_statuses(built, made.run_id) == {"completed"}, what
                agree(built, made.run_id, made.rows_planned - 1)
                assert built.query(
                    f"select q.row_key, c.status, c.lease_token from {LEDGER}"
                    f".migration_quarantine as q inner join {LEDGER}.stage_migration_control as c"
                    " using (run_id) where run_id = %s", made.run_id,
                ) == [(str(key), "completed_with_failures", None)], what  # fmt: skip
            # 5 and 4 ways have no common divisor, so that every way is tried
            number += 1 if PROOFS else 5
    assert number > 12 and line.seen > 12


def test_a_runner_that_freezes_in_a_transaction_holds_no_lock_for_long(
    built: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has sent the batch and hangs before its COMMIT; the application must not hang with it."""
    made = migration.make_plan(built, STAGE, plan.Pace(500, 0, 1000))
    run = session.Session.run
    written: list[int] = []

    def freeze(self: session.Session, statement: str, **values: object) -> Any:
        if statement == "run__finish_changes" and not written:
            with built.connect(options="-c statement_timeout=30s") as application:
                fire.until(lambda: application.execute(
                    "select count(*) from pg_locks where relation = 'portfoliocompanies'::regclass"
                    " and mode = 'RowExclusiveLock'").fetchone() == (1,))  # fmt: skip
                try:
                    changed = application.execute("update portfoliocompanies set website = website")
                except psycopg.errors.QueryCanceled:
                    pytest.fail("the application hangs with the runner")
                written.append(changed.rowcount)
        return run(self, statement, **values)

    monkeypatch.setattr(session.Session, "run", freeze)
    assert migration.apply(built, made).status == "completed"
    assert written == [3000]
    agree(built, made.run_id, made.rows_planned)


# ---------------------------------------------------------------------- locks, control, keyboard


def test_a_row_that_is_locked_all_the_time_is_reported_and_done_later(built: App) -> None:
    fire.remember(built)
    made = migration.make_plan(built, STAGE, plan.Pace(200, 0, 1000))
    ((key,),) = built.query("select id from chaos_model where stage_before <> stage_after"
                            " order by id offset 700 limit 1")  # fmt: skip
    events: list[engine.Event] = []
    with migration.connect(built) as holder:
        holder.execute("select 1 from portfoliocompanies where id = %s for update", [key])
        outcome = migration.apply(built, made, events.append, lock_timeout_ms=20)
        holder.rollback()
    assert outcome.status == "completed_with_failures"
    assert [(left.rows, left.table_name) for left in outcome.missed] == [(1, "portfoliocompanies")]
    failed = built.query(f"select error_message from {LEDGER}.stage_migration_failures")
    assert failed == [(f"1 rows were locked by other sessions: {key}",)]
    assert any(event.kind == "batch_failed" for event in events)
    agree(built, made.run_id, made.rows_planned - 1)
    migration.printed(built, "resume", "--yes")
    fire.prove(built, made)


def test_the_control_row_changes_the_pace_and_pauses(built: App) -> None:
    fire.remember(built)
    made = migration.make_plan(built, STAGE, plan.Pace(100, 100, 1000))
    control = f"update {LEDGER}.stage_migration_control set "
    events: list[str] = []

    def steer(event: engine.Event) -> None:
        events.append(event.kind)
        done = events.count("batch_completed")
        if event.kind == "batch_started" and done == 0:
            built.query(control + "target_ms = 1")
        if event.kind == "batch_started" and done == 2:
            built.query(control + "sleep_ms = 0")
        if event.kind == "batch_started" and done == 8:
            built.query(control + "requested_status = 'paused'")

    assert migration.apply(built, made, steer).status == "paused"
    assert (events.count("sleeping"), events.count("batch_completed")) == (2, 9)
    assert run_statuses(built) == ["paused"]
    assert batch_statuses(built, made.run_id) == {"completed", "pending"}
    pieces = built.query(f"select count(*) from {LEDGER}.stage_normalization_changes"
                         " group by batch_id")  # fmt: skip
    assert max(pieces) > (1,)  # a batch that takes longer than wanted is cut
    migration.printed(built, "resume", "--yes", "--sleep-ms", "0", "--target-ms", "1000")
    fire.prove(built, made)


INTERRUPT, TERMINATE = signal.SIGINT, signal.SIGTERM


@pytest.mark.parametrize("number", [INTERRUPT, TERMINATE] if PROOFS else [INTERRUPT])
def test_the_second_signal_cancels_the_statement(built: App, number: signal.Signals) -> None:
    fire.remember(built)
    fire.slow_down(built, 0.02)
    fire.give_time(built)
    made = migration.make_plan(built, STAGE, plan.Pace(400, 0, 100_000, stripes=1))
    process = migration.command(built, "apply", "--yes")
    with fire.superuser(built) as watch:
        fire.until(lambda: fire.running_statement(watch) > 0.3)  # each takes about 4 s
        process.send_signal(number)
        time.sleep(0.5)
        assert process.poll() is None
        assert fire.running_statement(watch) > 0.5  # the first signal lets it go on
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1 and "Traceback" not in err, err
        assert "Finishing the current batch" in out and "trueup resume" in out
    assert run_statuses(built) == ["interrupted"]
    assert batch_statuses(built, made.run_id) == {"pending"}
    agree(built, made.run_id, 0)
    built.query("drop trigger slow on portfoliocompanies")
    migration.printed(built, "resume", "--yes")
    fire.prove(built, made)


@pytest.mark.parametrize("number", [INTERRUPT, TERMINATE] if PROOFS else [TERMINATE])
def test_the_first_signal_finishes_the_batch(built: App, number: signal.Signals) -> None:
    fire.slow_down(built, 0.002)
    fire.give_time(built)
    made = migration.make_plan(built, STAGE, plan.Pace(400, 0, 100_000, stripes=1))
    process = migration.command(built, "apply", "--yes")
    with fire.superuser(built) as watch:
        fire.until(lambda: fire.running_statement(watch) > 0.1)
        done = fire.completed(watch)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1 and "trueup resume" in out, err
        assert done < fire.completed(watch) <= done + 1
    assert run_statuses(built) == ["interrupted"]
    assert batch_statuses(built, made.run_id) == {"completed", "pending"}


def test_a_signal_in_the_middle_of_a_line() -> None:
    """Python refuses to write a line while it writes another one; that must not end the run."""
    stop = engine.Stop()
    said: list[engine.Event] = []

    def report(event: engine.Event) -> None:
        said.append(event)
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")

    with job._keyboard(stop, report):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested and len(said) == 1

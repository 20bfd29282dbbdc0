"""What an in-place migration costs, beside what people would do without it; see `make bench`.

An embedded server of its own with default settings. Every case starts from the same table, freshly
written, vacuumed, analyzed, after a checkpoint; the cases of a round run one after the other, and
ratios are of figures of the same round. Nothing passes or fails.

The table is portfoliocompanies of the sample without its trigger and without the index on
updated_at, as a table of which no index changes; the case `as the sample is` has both.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import psycopg
import ratios

from trueup.core import dbt, runs
from trueup.core.settings import Settings
from trueup.local import sample, server
from trueup.migration import engine, plan, rehearsal, rollback, runner

PROJECT = Path(__file__).resolve().parents[2]
SCOPE = plan.Scope(("portfoliocompanies",), ("stage",))
TABLE = "public.portfoliocompanies"
WRITER_SECONDS = 5
BARE = "bare UPDATE"
BARE_NO_INDEX = "bare UPDATE, no index leads with the tenant"
BARE_SAMPLE = "bare UPDATE, as the sample is"
BARE_REVERSE = "bare UPDATE of these rows back to what they were"
ROLLBACK = "rollback of apply"

# case → what was measured → one value per round
Figures = dict[str, dict[str, list[float]]]


class Bench:
    """A server with the sample, the models, and a pristine copy of the table."""

    def __init__(self, companies: int, dirty_share: float) -> None:
        self.state = PROJECT / ".trueup" / "bench-apply"
        self.state.parent.mkdir(exist_ok=True)  # a fresh clone has none
        self.address = server.start(self.state)
        self.settings = Settings(PROJECT, self.state, "development", "", "text")
        self.environment = {
            "PGHOST": self.address.host,
            "PGPORT": str(self.address.port),
            "PGUSER": self.address.user,
            "PGPASSWORD": self.address.password,
            "PGDATABASE": self.address.dbname,
            "PGSSLMODE": "disable",
        }
        self.root = psycopg.connect(self.address.conninfo(), user=server.SUPERUSER, autocommit=True)
        with self.connect() as connection:
            sample.load(connection, companies=companies, deals=100, investments=100,
                        dirty_share=dirty_share, cascade=True)  # fmt: skip
        # what earlier benches left there would be looked through by this one
        self.root.execute("drop schema if exists trueup_ledger cascade")
        outcome = dbt.run(
            self.settings, self.environment, "build", "--exclude", "resource_type:test",
            "resource_type:unit_test", "resource_type:snapshot",
        )  # fmt: skip
        assert not outcome.failures, outcome.failures
        self.root.execute("drop table if exists public.bench_rows")
        self.root.execute(f"create table public.bench_rows as select * from {TABLE} order by id")
        self.root.execute("drop table if exists public.bench_map")
        self.root.execute(
            "create table public.bench_map as select raw_value as value_before,"
            " canonical_value as value_after from trueup_intermediate.int_values"
            " where canonical_value is not null and resolution <> 'canonical'"
        )
        self.root.execute("analyze public.bench_map")
        self.root.execute(f"grant all on public.bench_map to {self.address.user}")
        self.root.execute("alter table public.investments drop constraint if exists"
                          " investments_company_id_fkey")  # fmt: skip
        # An autovacuum in one case of a round and not in the other would be the difference.
        self.root.execute(f"alter table {TABLE} set (autovacuum_enabled = false)")

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.address.conninfo(), prepare_threshold=None, **options)

    def reset(
        self,
        rows: int | None = None,
        plain: bool = True,
        fresh: bool = True,
        tenant_index: bool = True,
    ) -> None:
        """The table as it was, its first rows or all of them; fresh: vacuumed and analyzed."""
        self.root.execute(f"truncate {TABLE}")
        self.root.execute("drop index if exists public.portfoliocompanies_updated_at_idx")
        self.root.execute("drop index if exists public.portfoliocompanies_fund_id_idx")
        if tenant_index:
            self.root.execute(f"create index portfoliocompanies_fund_id_idx on {TABLE} (fund_id)")
        # not only disabled: even then PostgreSQL locks every row before it updates it
        self.root.execute(f"drop trigger if exists touch_row_version on {TABLE}")
        self.root.execute(
            f"insert into {TABLE} select * from public.bench_rows"
            + (f" order by id limit {rows}" if rows else "")
        )
        if not plain:
            self.root.execute(f"create index portfoliocompanies_updated_at_idx on {TABLE}"
                              " (updated_at)")  # fmt: skip
            self.root.execute(
                f"create trigger touch_row_version before update on {TABLE}"
                " for each row execute function public.touch_row_version()"
            )
        if fresh:
            self.root.execute(f"vacuum (freeze, analyze) {TABLE}")
        self.root.execute("checkpoint")

    def make_plan(self, **pace: Any) -> plan.Plan:
        known = plan.defaults(self.settings)
        wanted = {"batch_size": known["batch_size"], "sleep_ms": 0,
                  "target_ms": known["target_ms"], **pace}  # fmt: skip
        with self.connect() as connection:
            return plan.make(self.settings, connection, SCOPE, plan.Pace(**wanted))

    def apply(
        self,
        run_id: uuid.UUID,
        report: Callable[[engine.Event], None] = lambda event: None,
        **changes: Any,
    ) -> engine.Outcome:
        with self.connect() as connection:
            run = runs.find(connection, "trueup_ledger", str(run_id), runs.PLANNED)
        order = dataclasses.replace(runner.order(self.settings, run), **changes)
        return engine.apply(self.connect, order, report, engine.Stop())

    def measured(self, work: Callable[[], object]) -> dict[str, float]:
        """Seconds, CPU seconds, log bytes, HOT share and growth of one piece of work on the table.

        cpu: of the sessions of the server, by the kernel; what writes its files is not counted
        """
        before = self._counters()
        spent = self.cpu()
        started = time.monotonic()
        work()
        seconds = time.monotonic() - started
        spent = self.cpu() - spent
        after = self._counters()
        updates = after["updates"] - before["updates"]
        return {
            "seconds": seconds,
            "cpu": spent,
            "rows": updates,
            "wal": (after["wal"] - before["wal"]) / max(updates, 1),
            "hot": 100 * (after["hot"] - before["hot"]) / max(updates, 1),
            "growth": 100 * (after["heap"] / before["heap"] - 1),
        }

    def cpu(self) -> float:
        """CPU seconds of the server's sessions so far: those that ended, and those that live."""
        time.sleep(0.5)  # until the server has noticed that a session has ended
        pid = (server.home(self.state) / "pgdata" / "postmaster.pid").read_text().split()[0]
        total = sum(map(int, stat(pid)[13:15]))  # of children that ended
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if stat(path.name)[1] == pid and b"127.0.0.1" in (path / "cmdline").read_bytes():
                    total += sum(map(int, stat(path.name)[11:13]))
            except FileNotFoundError:
                continue  # it has ended meanwhile
        return total / os.sysconf("SC_CLK_TCK")

    def _counters(self) -> dict[str, float]:
        wal = self._one("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        time.sleep(1.2)  # statistics of other sessions arrive within a second
        self.root.execute("select pg_stat_clear_snapshot()")
        row = self.root.execute(
            "select n_tup_upd, n_tup_hot_upd, pg_relation_size(relid) from pg_stat_all_tables"
            " where relid = %s::regclass", [TABLE],
        ).fetchone()  # fmt: skip
        assert row is not None
        return {"wal": wal, "updates": row[0], "hot": row[1], "heap": row[2]}

    def _one(self, query: str, *values: Any) -> float:
        row = self.root.execute(query, values or None).fetchone()
        assert row is not None
        return float(row[0])

    def close(self) -> None:
        self.root.close()
        server.stop(self.state)


def stat(pid: str) -> list[str]:
    """What the kernel says about a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


# ------------------------------------------------------------------------------ the other ways


def bare_update(bench: Bench) -> None:
    """One UPDATE, no audit: the least that changing these rows can cost."""
    with bench.connect() as connection:
        connection.execute(
            f"update {TABLE} as t set stage = m.value_after from public.bench_map as m"
            ' where t.stage collate "C" = m.value_before'
        )


def bare_reverse(bench: Bench) -> None:
    """One UPDATE back: the least that a rollback can cost."""
    with bench.connect() as connection:
        connection.execute(
            f"update {TABLE} as t set stage = b.stage from public.bench_rows as b"
            ' where t.id = b.id and t.stage collate "C" <> b.stage collate "C"'
        )


def classic_batches(bench: Bench) -> None:
    """Keyset batches of 5,000 with one audit row per row, as runbooks do it."""
    with bench.connect(autocommit=True) as connection:
        connection.execute(
            "create table if not exists public.bench_audit (id bigint generated always as identity"
            " primary key, table_name text, row_id text, stage_before text, stage_after text,"
            " run_at timestamptz default now())"
        )
        last = 0
        while True:
            row = connection.execute(
                f"select max(id) from (select id from {TABLE} where id > %s order by id"
                " limit 5000) as batch", [last],
            ).fetchone()  # fmt: skip
            if row is None or row[0] is None:
                return
            connection.execute(
                f"""
                with batch as (
                    select t.id, t.stage, m.value_after from {TABLE} as t
                    inner join public.bench_map as m on t.stage collate "C" = m.value_before
                    where t.id > %s and t.id <= %s for no key update of t
                ), changed as (
                    update {TABLE} as t set stage = batch.value_after from batch
                    where t.id = batch.id returning t.id, batch.stage as before, t.stage as after
                )
                insert into public.bench_audit (table_name, row_id, stage_before, stage_after)
                select 'portfoliocompanies', id::text, before, after from changed
                """,
                [last, row[0]],
            )
            last = row[0]


def plpgsql_loop(bench: Bench) -> None:
    """A DO block that updates 5,000 rows at a time and commits."""
    with bench.connect(autocommit=True) as connection:
        connection.execute(
            f"""
            do $$
            declare last bigint := 0; upto bigint;
            begin
                loop
                    select max(id) into upto from (
                        select id from {TABLE} where id > last order by id limit 5000
                    ) as batch;
                    exit when upto is null;
                    update {TABLE} as t set stage = m.value_after from public.bench_map as m
                    where t.id > last and t.id <= upto and t.stage collate "C" = m.value_before;
                    last := upto;
                    commit;
                end loop;
            end $$
            """
        )


def row_by_row(bench: Bench) -> None:
    """Read, look up in a dict, write back one row at a time, commit every 1,000."""
    with bench.connect() as connection:
        known = dict(connection.execute("select * from public.bench_map").fetchall())
        rows = connection.execute(f"select id, stage from {TABLE}").fetchall()
        for number, (key, stage) in enumerate(rows):
            if stage in known:
                connection.execute(f"update {TABLE} set stage = %s where id = %s",
                                   [known[stage], key])  # fmt: skip
            if number % 1000 == 999:
                connection.commit()


def read_map_write(bench: Bench) -> None:
    """Read all, map in memory, write back through a staging table: what a data frame does."""
    with bench.connect() as connection:
        known = dict(connection.execute("select * from public.bench_map").fetchall())
        rows = connection.execute(f"select id, stage from {TABLE}").fetchall()
        connection.execute("create temporary table staged (id bigint, stage text) on commit drop")
        with connection.cursor().copy("copy staged from stdin") as copy:
            for key, stage in rows:
                if stage in known:
                    copy.write_row((key, known[stage]))
        connection.execute("analyze staged")
        connection.execute(f"update {TABLE} as t set stage = s.stage from staged as s"
                           " where t.id = s.id")  # fmt: skip


OTHER_WAYS: dict[str, Callable[[Bench], object]] = {
    "keyset batches, one audit row per row": classic_batches,
    "PL/pgSQL loop with commits": plpgsql_loop,
    "read, map, write back at once": read_map_write,
}


# ---------------------------------------------------------------------------------- the cases


class Case(NamedTuple):
    """A way to migrate the table with trueup, and the bare UPDATE that it is compared with."""

    name: str
    base: str = BARE
    pace: Mapping[str, Any] = MappingProxyType({})
    order: Mapping[str, Any] = MappingProxyType({})
    table: Mapping[str, Any] = MappingProxyType({})


CASES = (
    Case("apply"),
    Case("apply, --durability batch", order={"waits_for_disk": True}),
    Case("apply, 2 workers", pace={"workers": 2}),
    Case("apply, contiguous", pace={"stripes": 1}),
    Case("apply, other columns compared", order={"compare_others": True}),
    Case("apply, by tenant", pace={"by_tenant": True}),
    Case("apply, by tenant, no index leads with it", BARE_NO_INDEX, {"by_tenant": True},
         table={"tenant_index": False}),
    Case("apply, as the sample is", BARE_SAMPLE, table={"plain": False}),
)  # fmt: skip
BASES: dict[str, Mapping[str, Any]] = {
    BARE: {}, BARE_NO_INDEX: {"tenant_index": False}, BARE_SAMPLE: {"plain": False},
}  # fmt: skip
AUDIT = "trueup_ledger.stage_normalization_changes"


def pairs(bench: Bench, rounds: int) -> Figures:
    """Apply beside the other ways, on the whole table."""
    figures: Figures = {}

    def note(case: str, measured: dict[str, float]) -> None:
        for name, value in measured.items():
            figures.setdefault(case, {}).setdefault(name, []).append(value)

    bench.root.execute(f"grant all on public.bench_rows to {bench.address.user}")
    for number in range(rounds):
        for base, table in BASES.items():
            bench.reset(**table)
            note(base, bench.measured(lambda: bare_update(bench)))
            if base == BARE:
                bench.root.execute(f"vacuum (freeze, analyze) {TABLE}")
                bench.root.execute("checkpoint")
                note(BARE_REVERSE, bench.measured(lambda: bare_reverse(bench)))
        for name, way in OTHER_WAYS.items() if number == 0 else ():
            bench.reset()
            note(name, bench.measured(lambda way=way: way(bench)))  # type: ignore[misc]
            bench.root.execute("drop table if exists public.bench_audit")
        for case in CASES:
            bench.reset(**case.table)
            made = bench.make_plan(**case.pace)
            note(case.name, measured_run(bench, made.run_id, **case.order))
            if case.name == "apply":
                bench.root.execute(f"vacuum (freeze, analyze) {TABLE}")
                bench.root.execute("checkpoint")
                note(ROLLBACK, measured_run(bench, plan_rollback(bench, made.run_id)))
    return figures


def plan_rollback(bench: Bench, run_id: uuid.UUID) -> uuid.UUID:
    """A stored rollback of a run, at the pace of the bench."""
    pace = plan.Pace(0, sleep_ms=0, target_ms=plan.defaults(bench.settings)["target_ms"])
    with bench.connect() as connection:
        scope = rollback.Scope()
        reverted = rollback.find(bench.settings, connection, str(run_id), scope)
        made = rollback.make(bench.settings, connection, reverted, scope, pace, keep=True)
    assert made.run_id is not None
    return made.run_id


def measured_run(bench: Bench, run_id: uuid.UUID, **changes: Any) -> dict[str, float]:
    """What one run costs, its audit and its batches included."""
    audit = bench._one(f"select pg_total_relation_size('{AUDIT}')")
    found = bench.measured(lambda: bench.apply(run_id, **changes))
    grown = bench._one(f"select pg_total_relation_size('{AUDIT}')") - audit
    return {**found, "audit": grown / max(found["rows"], 1), **durations(bench, run_id)}


def durations(bench: Bench, run_id: uuid.UUID) -> dict[str, float]:
    """Median and 95th percentile of the batches, in milliseconds."""
    row = bench.root.execute(
        "select percentile_cont(array[0.5, 0.95]) within group (order by duration_ms)"
        " from trueup_ledger.stage_migration_batches where run_id = %s", [run_id],
    ).fetchone()  # fmt: skip
    assert row is not None
    return {"p50": row[0][0], "p95": row[0][1]}


def sizes(bench: Bench, counts: Sequence[int]) -> list[tuple[int, float]]:
    """Rows looked at per second on tables that were never analyzed, by size."""
    found = []
    for count in counts:
        speeds = []
        for _ in range(3):
            bench.root.execute("delete from pg_statistic where starelid = %s::regclass", [TABLE])
            bench.reset(count, fresh=False)
            made = bench.make_plan()
            started = time.monotonic()
            bench.apply(made.run_id)
            speeds.append(count / (time.monotonic() - started))
        found.append((count, statistics.median(speeds)))
    return found


class Rehearsed(NamedTuple):
    """A run whose log is estimated first, of a table of so many rows.

    indexes: further ones; checkpoint: when one is made, before the run or in the middle of it
    """

    name: str
    rows: int
    pace: Mapping[str, Any] = MappingProxyType({})
    table: Mapping[str, Any] = MappingProxyType({})
    indexes: tuple[str, ...] = ()
    fillfactor: int = 100
    checkpoint: str = ""


REHEARSED = (
    Rehearsed("nothing special", 20_000),
    Rehearsed("small batches", 20_000, {"batch_size": 500}),
    Rehearsed("larger, a checkpoint before it", 200_000, checkpoint="before"),
    Rehearsed("a checkpoint in the middle", 100_000, checkpoint="middle"),
    Rehearsed("an index on the column", 100_000, indexes=("(stage)",), checkpoint="before"),
    Rehearsed("two workers", 100_000, {"workers": 2}),
    Rehearsed("contiguous batches", 50_000, {"stripes": 1}),
    Rehearsed("by tenant", 50_000, {"by_tenant": True}),
    Rehearsed("trigger and indexes of the sample", 100_000, table={"plain": False}),
    Rehearsed("room on the pages", 50_000, fillfactor=70),
)


def rehearsals(bench: Bench) -> Iterator[str]:
    """The range of the log that a rehearsal estimates, beside the log of the run that follows."""
    # it would write log of its own, above all of the tables that were just filled
    bench.root.execute("alter system set autovacuum = off")
    bench.root.execute("select pg_reload_conf()")
    yield "| run | rows | log estimated, MB | log, MB | in the range | time estimated, s | s |"
    yield "|---|---:|---:|---:|---|---:|---:|"
    inside = 0
    for case in REHEARSED:
        bench.root.execute(f"alter table {TABLE} set (fillfactor = {case.fillfactor})")
        bench.reset(case.rows, **case.table)
        for index in case.indexes:
            bench.root.execute(f"create index bench_index on {TABLE} {index}")
        known = plan.defaults(bench.settings)
        pace = plan.Pace(**{"batch_size": known["batch_size"], "sleep_ms": 0,
                            "target_ms": known["target_ms"], **case.pace})  # fmt: skip
        with bench.connect() as connection:
            made = plan.make(bench.settings, connection, SCOPE, pace)
            (column,) = rehearsal.rehearse(bench.settings, connection, made, pace)["columns"]
        found = column["prediction"]
        assert found is not None and found["rows_planned"] == made.rows_planned
        if case.checkpoint == "before":
            bench.root.execute("checkpoint")
        real = bench.measured(
            lambda made=made, case=case: run_with_checkpoint(  # type: ignore[misc]
                bench, made, case.checkpoint == "middle"
            )
        )
        wal = real["wal"] * real["rows"]
        is_inside = found["wal_bytes_low"] <= wal <= found["wal_bytes_high"]
        inside += is_inside
        bench.root.execute("drop index if exists public.bench_index")
        yield (
            f"| {case.name} | {real['rows']:,.0f} of {case.rows:,}"
            f" | {found['wal_bytes_low'] / 1e6:.1f} to {found['wal_bytes_high'] / 1e6:.1f}"
            f" | {wal / 1e6:.1f} | {'yes' if is_inside else 'no'}"
            f" | {found['seconds_low']} to {found['seconds_high']} | {real['seconds']:.1f} |"
        )
    bench.root.execute(f"alter table {TABLE} reset (fillfactor)")
    bench.root.execute("alter system reset autovacuum")
    bench.root.execute("select pg_reload_conf()")
    yield f"in the range: {inside} of {len(REHEARSED)}"


def run_with_checkpoint(bench: Bench, made: plan.Plan, in_the_middle: bool) -> None:
    """Carry out a plan; a checkpoint after half of its batches, if it is asked for."""
    done = 0

    def report(event: engine.Event) -> None:
        nonlocal done
        done += event.kind == "batch_completed"
        if in_the_middle and event.kind == "batch_completed" and done == made.batches // 2:
            bench.root.execute("checkpoint")

    bench.apply(made.run_id, report)


def second_run(bench: Bench, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of planning and applying on clean data, and of a grouped count of the column."""
    bench.reset()
    bench.apply(bench.make_plan().run_id)
    bench.root.execute(f"vacuum analyze {TABLE}")
    again, counted = [], []
    for _ in range(rounds):
        started = time.monotonic()
        made = bench.make_plan()
        assert bench.apply(made.run_id).totals["rows_updated"] == 0
        again.append(time.monotonic() - started)
        started = time.monotonic()
        bench.root.execute(f"select stage, count(*) from {TABLE} group by stage").fetchall()
        counted.append(time.monotonic() - started)
    return again, counted


def beside_a_writer(bench: Bench, busy: bool) -> dict[str, float]:
    """A writer's statements (ms) beside a run or alone, and for how long at most we block it."""
    bench.reset()
    made = bench.make_plan()
    taken: list[float] = []
    blocked: list[float] = []
    stop = threading.Event()

    def write() -> None:
        with bench.connect(autocommit=True, application_name="writer") as connection:
            number = 0
            while not stop.is_set():
                number += 1
                key = (number * 7919) % bench_rows + 1
                started = time.monotonic()
                connection.execute(f"update {TABLE} set sector = %s where id = %s",
                                   [f"s{number}", key])  # fmt: skip
                taken.append((time.monotonic() - started) * 1000)
                time.sleep(0.0005)

    def watch() -> None:
        since: float | None = None
        with bench.connect(autocommit=True, application_name="watcher") as connection:
            while not stop.is_set():
                row = connection.execute(
                    "select count(*) from pg_stat_activity where application_name = 'writer'"
                    " and cardinality(pg_blocking_pids(pid)) > 0"
                ).fetchone()
                now = time.monotonic()
                if row and row[0]:
                    since = since or now
                elif since is not None:
                    blocked.append((now - since) * 1000)
                    since = None

    bench_rows = int(bench._one(f"select count(*) from {TABLE}"))
    threads = [threading.Thread(target=write), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    if busy:
        bench.apply(made.run_id)
    else:
        time.sleep(WRITER_SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    taken.sort()
    return {
        "statements": len(taken),
        "p50": taken[len(taken) // 2],
        "p99.9": taken[int(len(taken) * 0.999)],
        "max": taken[-1],
        "blocked": max(blocked, default=0.0),
    }


def command_on(bench: Bench, rows: int) -> tuple[float, float]:
    """Seconds of `trueup apply` on a stored plan, and its largest memory (MB)."""
    bench.reset(rows)
    bench.make_plan()
    started = time.monotonic()
    memory = largest_memory(bench, "apply", "--yes", "--sleep-ms", "0")
    return time.monotonic() - started, memory


def largest_memory(bench: Bench, *arguments: str) -> float:
    """The largest memory (MB) of a command that succeeds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trueup.cli", *arguments],
        cwd=PROJECT, env={**os.environ, **bench.environment}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    # Not its ru_maxrss: that begins with what this process had when it was forked.
    memory = 0.0
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        memory = max(memory, *kilobytes, 0.0)
        time.sleep(0.02)
    assert process.returncode == 0
    return memory / 1024


def against_base(figures: Figures, case: str, what: str = "seconds") -> list[float]:
    """A figure of a case, round by round, as a multiple of that of its bare UPDATE."""
    base = next((each.base for each in CASES if each.name == case), BARE)
    base = BARE_REVERSE if case == ROLLBACK else base
    base = case if case in (*BASES, BARE_REVERSE) else base
    # the other ways are measured in the first round only
    return [a / b for a, b in zip(figures[case][what], figures[base][what], strict=False)]


def ratios_of(figures: Figures) -> dict[str, float]:
    """The ratios that are committed: time and log of each case against its bare UPDATE."""
    found = {}
    for case in figures:
        if case not in (*BASES, BARE_REVERSE):
            found[f"{case}: CPU"] = statistics.median(against_base(figures, case, "cpu"))
            found[f"{case}: time"] = statistics.median(against_base(figures, case))
            found[f"{case}: WAL"] = statistics.median(against_base(figures, case, "wal"))
    pairs_of = zip(figures[ROLLBACK]["seconds"], figures["apply"]["seconds"], strict=True)
    found["rollback: time against apply"] = statistics.median(a / b for a, b in pairs_of)
    return found


def report(figures: Figures) -> Iterator[str]:
    """The pairs as a table of medians, with ratios to the bare UPDATE of the same round."""
    yield (
        "| case | s | × bare UPDATE | CPU × bare UPDATE | WAL B/row | HOT % | heap + %"
        " | audit B/row | batch p50, p95 ms |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for case, found in figures.items():
        times, spent = against_base(figures, case), against_base(figures, case, "cpu")
        cells = [
            f"{statistics.median(found['seconds']):.2f}",
            f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})",
            f"{statistics.median(spent):.2f} ({min(spent):.2f} to {max(spent):.2f})",
            f"{statistics.median(found['wal']):.0f}",
            f"{statistics.median(found['hot']):.0f}",
            f"{statistics.median(found['growth']):.0f}",
            f"{statistics.median(found['audit']):.1f}" if "audit" in found else "",
            f"{statistics.median(found['p50']):.0f}, {statistics.median(found['p95']):.0f}"
            if "p50" in found
            else "",
        ]
        yield f"| {case} | " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--companies", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["pairs", "rehearsals", "rest"])
    parser.add_argument("--commit", action="store_true", help="keep the ratios of this run")
    options = parser.parse_args(arguments)
    bench = Bench(options.companies, dirty_share=0.66)
    out = sys.stdout.write
    try:
        load = os.getloadavg()[0]
        out(f"{options.companies:,} rows, {options.rounds} rounds, load {load:.1f}\n\n")
        if options.only in (None, "pairs"):
            figures = pairs(bench, options.rounds)
            out("\n".join(report(figures)) + "\n\n")
            found = ratios_of(figures)
            out("\n".join(ratios.judged(found)) + "\n\n")
            if options.commit:
                ratios.commit(found)
        if options.only in (None, "rehearsals"):
            out("\n".join(rehearsals(bench)) + "\n\n")
        if options.only in (None, "rest"):
            for count, speed in sizes(bench, [10_000, 100_000, options.companies]):
                out(f"never analyzed, {count:,} rows: {speed:,.0f} rows/s\n")
            bench.reset(100_000)
            by_row = bench.measured(lambda: row_by_row(bench))
            out(f"row by row from Python, 100,000 rows: {by_row['seconds']:.1f} s\n")
            again, counted = second_run(bench, options.rounds)
            out(f"second run {statistics.median(again):.3f} s, grouped count"
                f" {statistics.median(counted):.3f} s\n")  # fmt: skip
            for busy in (False, True):
                out(f"writer {'beside a run' if busy else 'alone'}: "
                    f"{beside_a_writer(bench, busy)}\n")  # fmt: skip
            for rows in (10_000, options.companies):
                seconds, memory = command_on(bench, rows)
                out(f"command on {rows:,} rows, stored plan: {seconds:.2f} s, {memory:.0f} MB\n")
    finally:
        bench.close()


if __name__ == "__main__":
    main()

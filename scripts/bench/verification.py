"""What `trueup verify` costs, beside one grouped count of the same column; see `make bench`.

An embedded server of its own with default settings. The table is portfoliocompanies of the sample
without its trigger; a migration has changed two thirds of it. Each round reads the grouped count
and the checks one after the other, and ratios are of figures of the same round. The joins of keys,
audit_consistency and models_agree, stand apart. Then all checks together, for every kind of key,
before and after a rollback, of tables without statistics. Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

import ratios
import yaml
from apply import PROJECT, TABLE, Bench, largest_memory

from trueup.core import dbt, runs
from trueup.migration import engine, plan, rollback, runner
from trueup.verification import verify

COUNT = f"select fund_id, stage, count(*) from {TABLE} group by fund_id, stage"
APART = ("audit_consistency", "models_agree")  # they join keys
RATIO = "verify: time against a grouped count"

# by table: the key, and SQL of its columns for row n
KEYS = {
    "bench_bigint": ({"id": "bigint"}, "n"),
    "bench_text": ({"id": "text"}, "'key-' || md5(cast(n as text))"),
    "bench_uuid": ({"id": "uuid"}, "cast(md5(cast(n as text)) as uuid)"),
    "bench_composite": ({"a": "integer", "b": "text"}, "n % 100, 'b' || n"),
}
PACE = plan.Pace(5000, 0, 1000)


def rounds_of(bench: Bench, rounds: int) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of the grouped count, and of each check, by round."""
    counts: list[float] = []
    checks: dict[str, list[float]] = {}
    for _ in range(rounds):
        started = time.monotonic()
        bench.root.execute(COUNT).fetchall()
        counts.append(time.monotonic() - started)
        with bench.connect() as connection:
            found = verify.run(bench.settings, connection, None)
        for check in found["checks"]:
            checks.setdefault(check["code"], []).append(check["duration_ms"] / 1000)
    return counts, checks


def report(counts: list[float], checks: dict[str, list[float]]) -> Iterator[str]:
    """A line per check, in medians and as a multiple of the grouped count of its round."""
    yield f"grouped count: {statistics.median(counts):.2f} s"
    yield ""
    yield "| check | s | × grouped count |"
    yield "|---|---:|---:|"
    scans = [0.0] * len(counts)
    for name, times in checks.items():
        apart = name in APART
        if not apart:
            scans = [a + b for a, b in zip(scans, times, strict=True)]
        yield f"| {name}{' (apart)' if apart else ''} | {_pair(times, counts)} |"
    yield f"| all but the two apart | {_pair(scans, counts)} |"


def ratio_of(counts: list[float], checks: dict[str, list[float]]) -> float:
    """The median over the rounds of all checks but those apart, in grouped counts."""
    return statistics.median(
        sum(times[number] for name, times in checks.items() if name not in APART) / count
        for number, count in enumerate(counts)
    )


def managing_keys(bench: Bench) -> Bench:
    """The bench with a copy of the project that manages the tables of KEYS."""
    project = bench.state / "keys"
    shutil.rmtree(project, ignore_errors=True)
    for part in ("analyses", "macros", "models", "seeds", "snapshots", "tests"):
        shutil.copytree(PROJECT / part, project / part, ignore=shutil.ignore_patterns("python"))
    shutil.copy(PROJECT / "profiles.yml.example", project)
    configured = yaml.safe_load((PROJECT / "dbt_project.yml").read_text("utf-8"))
    configured["vars"] |= {"sample": False, "managed_columns": [
        {"table": table, "column": "stage", "key": key, "tenant": "fund_id",
         "vocabulary": "stage", "model": f"stg_app__{table}"} for table, (key, _) in KEYS.items()
    ]}  # fmt: skip
    (project / "dbt_project.yml").write_text(yaml.safe_dump(configured, sort_keys=False), "utf-8")
    (project / "models/staging/app").mkdir()
    for table in KEYS:
        model = project / f"models/staging/app/stg_app__{table}.sql"
        model.write_text(f"select * from public.{table}\n", "utf-8")
    other = copy.copy(bench)
    other.settings = dataclasses.replace(bench.settings, project=project, state=project / ".trueup")
    return other


def make_tables(bench: Bench, rows: int) -> None:
    """Tables of so many rows, two thirds of them dirty; without statistics, as after a load."""
    bench.root.execute("drop schema if exists trueup_ledger cascade")
    for table, (key, values) in KEYS.items():
        columns = ", ".join(f"{name} {kind}" for name, kind in key.items())
        bench.root.execute(f"drop table if exists public.{table} cascade")
        bench.root.execute(
            f"create table public.{table} ({columns}, fund_id int, stage text,"
            f" primary key ({', '.join(key)})) with (autovacuum_enabled = off)"
        )
        bench.root.execute(f"alter table public.{table} owner to {bench.address.user}")
        bench.root.execute(
            "with spellings as (select array_agg(value_before) as dirty,"
            " array_agg(value_after) as clean from public.bench_map)"
            f" insert into public.{table} select {values}, n % 50, case when n % 3 < 2"
            " then dirty[n % cardinality(dirty) + 1] else clean[n % cardinality(clean) + 1] end"
            f" from spellings, generate_series(1, {rows}) as numbers (n)"
        )
    outcome = dbt.run(bench.settings, bench.environment, "build", "--exclude",
                      "resource_type:test", "resource_type:unit_test")  # fmt: skip
    assert not outcome.failures, outcome.failures


def carry_out(bench: Bench, run_id: object) -> None:
    with bench.connect() as connection:
        run = runs.find(connection, "trueup_ledger", str(run_id), runs.PLANNED)
    engine.apply(bench.connect, runner.order(bench.settings, run), lambda event: None,
                 engine.Stop())  # fmt: skip


def ratios_by_key(bench: Bench) -> Iterator[tuple[str, float]]:
    """All checks of a migration in grouped counts, by kind of key, before and after a rollback."""
    for table in KEYS:
        with bench.connect() as connection:
            made = plan.make(bench.settings, connection, plan.Scope((table,)), PACE)
        carry_out(bench, made.run_id)
        for when in ("", ", rolled back"):
            if when:
                with bench.connect() as connection:
                    everything = rollback.Scope()
                    found = rollback.find(bench.settings, connection, str(made.run_id), everything)
                    connection.rollback()
                    back = rollback.make(
                        bench.settings, connection, found, everything, PACE, keep=True
                    )
                carry_out(bench, back.run_id)
            started = time.monotonic()
            bench.root.execute(COUNT.replace(TABLE, f"public.{table}")).fetchall()
            counted = time.monotonic() - started
            with bench.connect() as connection:
                document = verify.run(bench.settings, connection, str(made.run_id))
            checked = sum(check["duration_ms"] for check in document["checks"]) / 1000
            yield f"verify, {table.removeprefix('bench_')} key{when}", checked / counted


def _pair(times: Sequence[float], counts: Sequence[float]) -> str:
    shares = [a / b for a, b in zip(times, counts, strict=True)]
    return f"{statistics.median(times):.2f} | {statistics.median(shares):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--companies", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commit", action="store_true", help="keep the ratio of this run")
    options = parser.parse_args(arguments)
    bench = Bench(options.companies, dirty_share=0.66)
    out = sys.stdout.write
    try:
        out(f"{options.companies:,} rows, {options.rounds} rounds,"
            f" load {os.getloadavg()[0]:.1f}\n\n")  # fmt: skip
        bench.reset()
        bench.apply(bench.make_plan().run_id)
        bench.root.execute(f"vacuum (freeze, analyze) {TABLE}")
        counts, checks = rounds_of(bench, options.rounds)
        out("\n".join(report(counts, checks)) + "\n\n")
        found = {RATIO: ratio_of(counts, checks)}
        out(f"memory of the command: {largest_memory(bench, 'verify'):.0f} MB\n")
        keyed = managing_keys(bench)
        make_tables(keyed, options.companies)
        found |= ratios_by_key(keyed)
        out("\n".join(ratios.judged(found)) + "\n")
        if options.commit:
            ratios.commit(found)
    finally:
        bench.close()


if __name__ == "__main__":
    main()

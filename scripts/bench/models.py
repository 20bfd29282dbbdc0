"""`make bench`: what a run of the models costs, beside the same SQL without dbt.

An embedded server of its own with default settings, a sample of a million companies, rounds of
full, incremental (1 % of the companies changed) and no-change runs, one model at a time. Figures
are medians with their range; ratios are of figures of the same round. Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

from trueup import dbt, sample, server
from trueup.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
MART = "fct_portfolio_company_stages"
RUNS = ("full", "incremental", "no change")
CHANGE = """
    update public.portfoliocompanies set stage = case when %s then 'Hot deal' else 'hot deal' end
    where id %% 100 = 7
"""
WRITTEN = """
    select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)
    from pg_stat_user_tables where schemaname = 'trueup'
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--companies", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    state = PROJECT / ".trueup" / "bench"
    address = server.start(state)
    try:
        with psycopg.connect(address.conninfo(), autocommit=True) as connection:
            bench(connection, state, address, options.companies, options.rounds)
    finally:
        server.stop(state)


def bench(
    connection: psycopg.Connection[Any],
    state: Path,
    address: server.Address,
    companies: int,
    rounds: int,
) -> None:
    sample.load(connection, companies=companies, deals=companies // 5,
                investments=companies // 20, cascade=True)  # fmt: skip
    settings = Settings(PROJECT, state, "development", "", "text")
    environment = {
        "PGHOST": address.host, "PGPORT": str(address.port), "PGUSER": address.user,
        "PGPASSWORD": address.password, "PGDATABASE": address.dbname,
    }  # fmt: skip

    def build(*more: str) -> dbt.Outcome:
        outcome = dbt.run(
            settings, environment, "build", "--exclude", "resource_type:test",
            "resource_type:unit_test", "resource_type:snapshot", "--threads", "1", *more,
        )  # fmt: skip
        assert not outcome.failures, outcome.failures
        return outcome

    build()
    connection.execute("vacuum analyze")
    figures: dict[tuple[str, str], list[float]] = {}

    def note(run: str, what: str, value: float) -> None:
        figures.setdefault((run, what), []).append(value)

    for number in range(rounds):
        for run in RUNS:
            if run == "incremental":
                connection.execute(CHANGE, [number % 2 == 0])
            before = written(connection)
            started = time.monotonic()
            outcome = build(*(["--full-refresh"] if run == "full" else []))
            note(run, "wall", time.monotonic() - started)
            note(run, "models", sum(outcome.timings.values()))
            note(run, "mart", outcome.timings[MART])
            note(run, "written", written(connection) - before)
            note(run, "sql", plain(connection, state, full=run == "full"))
        note("full", "ratio", figures["incremental", "mart"][-1] / figures["full", "mart"][-1])
    report(figures, companies, rounds)


def plain(connection: psycopg.Connection[Any], state: Path, full: bool) -> float:
    """Seconds for the mart's compiled SQL alone: all rows into a table with its indexes, or the
    rows that are due into a temporary one."""
    folder = state / "target" / "compiled"
    text = next(folder.rglob(f"{MART}.sql")).read_text()
    started = time.monotonic()
    if full:
        connection.execute(f"create table bench_copy (like trueup.{MART} including all)")
        connection.execute(f"insert into bench_copy {text}")  # type: ignore[arg-type]
    else:
        connection.execute(f"create temporary table bench_copy as {text}")  # type: ignore[arg-type]
    seconds = time.monotonic() - started
    connection.execute("drop table bench_copy")
    return seconds


def written(connection: psycopg.Connection[Any]) -> int:
    connection.execute("select pg_stat_force_next_flush()")
    time.sleep(1.1)  # the statistics of sessions that have ended arrive within a second
    row = connection.execute(WRITTEN).fetchone()
    return int(row[0]) if row else 0


def report(figures: dict[tuple[str, str], list[float]], companies: int, rounds: int) -> None:
    def show(run: str, what: str, form: str = ".2f") -> str:
        values = figures[run, what]
        middle, low, high = statistics.median(values), min(values), max(values)
        return f"{middle:{form}} ({low:{form}} to {high:{form}})"

    out = sys.stdout.write
    out(f"{companies:,} companies, {rounds} rounds, load {os.getloadavg()[0]:.1f}\n\n")
    out(
        "| run | rows written | all models, s | wall, s | the mart in dbt, s | its SQL alone, s |\n"
    )
    out("|---|---:|---:|---:|---:|---:|\n")
    for run in RUNS:
        cells = [
            show(run, "written", ",.0f"),
            *(show(run, w) for w in ("models", "wall", "mart", "sql")),
        ]
        out(f"| {run} | " + " | ".join(cells) + " |\n")
    out(f"\nincremental / full, of the mart: {show('full', 'ratio')}\n")


if __name__ == "__main__":
    main()

"""What a run of the models costs, beside the same SQL without dbt; `make bench` calls it.

An embedded server of its own with default settings, a sample of a million companies, rounds of
full, no-change and incremental (1 % of the companies changed) runs, one model at a time. Figures
are medians with their range; ratios are of figures of the same round. Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from trueup.core import dbt
from trueup.core.settings import Settings
from trueup.local import sample, server

PROJECT = Path(__file__).resolve().parents[2]
MART = "fct_portfolio_company_stages"
RUNS = ("full", "no change", "incremental")
SLOWEST = 5

# One company in a hundred, spread over all pages: the kind of change that is dearest.
CHANGE = """
    update public.portfoliocompanies set stage = case when %s then 'Hot deal' else 'hot deal' end
    where id %% 100 = 7
"""
WRITTEN = """
    select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)
    from pg_stat_user_tables where schemaname = 'trueup'
"""
# In a run of dbt other models have read the table before the mart does.
READ_BEFORE = "select count(stage) from public.portfoliocompanies"

# (run or node, what was measured) → one value per round; seconds, rows, a ratio or a load
Figures = dict[tuple[str, str], list[float]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--companies", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    state = PROJECT / ".trueup" / "bench"
    address = server.start(state)
    try:
        with psycopg.connect(address.conninfo(), autocommit=True) as connection:
            figures = measure(connection, state, address, options.companies, options.rounds)
            sys.stdout.write(report(figures, connection, options.companies, options.rounds))
    finally:
        server.stop(state)


def measure(
    connection: psycopg.Connection[Any],
    state: Path,
    address: server.Address,
    companies: int,
    rounds: int,
) -> Figures:
    """Make the sample in the connection's database, run the rounds, return what they took."""
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
    build()  # the second run leaves the text of an incremental one
    connection.execute("vacuum analyze")
    texts = _texts(state)
    figures: Figures = {}

    def note(run: str, what: str, value: float) -> None:
        figures.setdefault((run, what), []).append(value)

    for number in range(rounds):
        for run in RUNS:
            if run == "incremental":
                connection.execute(CHANGE, [number % 2 == 0])
            # a full build makes the tables anew, and their counters
            before = 0 if run == "full" else _written(connection)
            started = time.monotonic()
            outcome = build(*(["--full-refresh"] if run == "full" else []))
            note(run, "wall", time.monotonic() - started)
            note(run, "nodes", sum(outcome.timings.values()))
            note(run, "mart", outcome.timings[MART])
            note(run, "written", _written(connection) - before)
            if run == "full":
                for name, seconds in outcome.timings.items():
                    note(name, "node", seconds)
                note(run, "sql", _plain_full(connection, state))
            else:
                if run == "incremental":
                    connection.execute(CHANGE, [number % 2 != 0])
                    connection.execute(READ_BEFORE)
                note(run, "sql", _plain_incremental(connection, *texts))
            note(run, "dbt", figures[run, "mart"][-1] - figures[run, "sql"][-1])
            note(run, "load", os.getloadavg()[0])
            note(run, "ratio", figures[run, "mart"][-1] / figures["full", "mart"][-1])
    return figures


def _texts(state: Path) -> tuple[str, str]:
    """The mart's incremental select as compiled, and the merge as dbt ran it."""
    compiled, ran = (
        next((state / "target" / kind).rglob(f"{MART}.sql")).read_text()
        for kind in ("compiled", "run")
    )
    return compiled, re.sub(rf"\b{MART}__dbt_tmp\w+", "bench_due", ran)


def _plain_full(connection: psycopg.Connection[Any], state: Path) -> float:
    """Seconds for the select of a full build into a table with a primary key, and an index."""
    text = next((state / "target" / "compiled").rglob(f"{MART}.sql")).read_text()
    started = time.monotonic()
    with connection.transaction():
        connection.execute(f"create table bench_copy (like trueup.{MART} including constraints)")
        connection.execute("alter table bench_copy add primary key (company_id)")
        connection.execute(f"insert into bench_copy {text}".encode())
        connection.execute("create index on bench_copy (fund_id)")
    seconds = time.monotonic() - started
    connection.execute("drop table bench_copy")
    return seconds


def _plain_incremental(connection: psycopg.Connection[Any], compiled: str, ran: str) -> float:
    """Seconds for the rows that are due into a temporary table, and the merge of them."""
    started = time.monotonic()
    with connection.transaction():
        connection.execute(f"create temporary table bench_due as {compiled}".encode())
        connection.execute(ran.encode())
    seconds = time.monotonic() - started
    connection.execute("drop table bench_due")
    return seconds


def _written(connection: psycopg.Connection[Any]) -> int:
    connection.execute("select pg_stat_force_next_flush()")
    time.sleep(1.1)  # the statistics of sessions that have ended arrive within a second
    row = connection.execute(WRITTEN).fetchone()
    return int(row[0]) if row else 0


def report(
    figures: Figures, connection: psycopg.Connection[Any], companies: int, rounds: int
) -> str:
    """The figures as Markdown, as docs/performance.md shows them."""

    def show(run: str, what: str, form: str = ".2f") -> str:
        values = figures[run, what]
        middle, low, high = statistics.median(values), min(values), max(values)
        if low == high:
            return f"{middle:{form}}"
        return f"{middle:{form}} ({low:{form}} to {high:{form}})"

    server_version = connection.info.parameter_status("server_version")
    loads = [load for run in RUNS for load in figures[run, "load"]]
    lines = [
        f"{companies:,} companies, {rounds} rounds, PostgreSQL {server_version}, "
        f"{os.cpu_count()} cores, load {min(loads):.1f} to {max(loads):.1f}",
        "",
        "| run | rows written | the mart in dbt, s | share of full | its SQL alone, s "
        "| dbt's part, s | all nodes, s | whole command, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in RUNS:
        cells = [run, show(run, "written", ",.0f")]
        cells += [show(run, what) for what in ("mart", "ratio", "sql", "dbt", "nodes", "wall")]
        lines.append(f"| {' | '.join(cells)} |")

    nodes = {name: statistics.median(v) for (name, what), v in figures.items() if what == "node"}
    layers: dict[str, float] = {}
    for name, seconds in nodes.items():
        model = next((PROJECT / "models").rglob(f"{name}.sql"), None)
        layer = model.relative_to(PROJECT / "models").parts[0] if model else "seeds"
        layers[layer] = layers.get(layer, 0.0) + seconds
    lines += ["", "| full build, by layer | s |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in _longest(layers)]
    lines += ["", f"| its {SLOWEST} slowest nodes | s |", "|---|---:|"]
    lines += [f"| {name} | {show(name, 'node')} |" for name, _ in _longest(nodes)[:SLOWEST]]
    return "\n".join(lines) + "\n"


def _longest(seconds: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda item: -item[1])


if __name__ == "__main__":
    main()

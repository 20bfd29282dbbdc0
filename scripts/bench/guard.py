"""What the guard costs a writer of good rows, beside a CHECK and a foreign key; see `make bench`.

An embedded server of its own with default settings. Each round writes the same good rows into the
same table, guarded in one of four ways, in an order that turns with the round; ratios are of
figures of the same round. Then `trueup apply` with and without a guard in warn, in pairs. CPU is
that of the session's process, by the kernel. Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import ratios
from apply import TABLE, Bench

from trueup.guard import guard
from trueup.local import server

SCOPE = "public.portfoliocompanies.stage"
NAME = "bench_guard"
VALUES = "array(select canonical_value from trueup_vocabulary.stages order by sort_rank)"
OPERATIONS = {
    "INSERT": f"insert into {TABLE} select * from public.bench_good",
    "UPDATE of the column": f"update {TABLE} set stage = ({VALUES})[1 + (id + 1) % 6]",
    "UPDATE of another column": f"update {TABLE} set name = name || '.'",
    "COPY": f"copy {TABLE} from '{{file}}'",
}
WAYS = ("no guard", "CHECK", "foreign key", "guard")
Figures = dict[tuple[str, str], list[tuple[float, float]]]


def guarded(bench: Bench, way: str) -> None:
    """The empty table, guarded in one way."""
    root = bench.root
    root.execute(f"truncate {TABLE}")
    root.execute(f"alter table {TABLE} drop constraint if exists {NAME}")
    with bench.connect() as connection:
        guard.drop(bench.settings, connection, SCOPE, None, print)
        if way == "guard":
            guard.install(bench.settings, connection, SCOPE, print, "staging")
    if way == "CHECK":
        ((values,),) = root.execute(f"select quote_literal(cast({VALUES} as text))").fetchall()
        root.execute(f"alter table {TABLE} add constraint {NAME}"
                     f" check (stage = any (cast({values} as text[])))")  # fmt: skip
    if way == "foreign key":
        root.execute(f"alter table {TABLE} add constraint {NAME} foreign key (stage)"
                     " references public.bench_stages (value)")  # fmt: skip


def measured(bench: Bench, statement: str) -> tuple[float, float]:
    """Seconds and CPU seconds of a statement in a session of its own."""
    with bench.connect(user="postgres", autocommit=True) as connection:
        spent = Path(f"/proc/{connection.info.backend_pid}/schedstat")
        connection.execute("select")
        before, started = int(spent.read_text().split()[0]), time.monotonic()
        connection.execute(statement.encode())
        seconds = time.monotonic() - started
        return seconds, (int(spent.read_text().split()[0]) - before) / 1e9


def writes(bench: Bench, rows: int, rounds: int) -> Figures:
    """(operation, way) → seconds and CPU seconds by round."""
    root = bench.root
    root.execute("drop table if exists public.bench_good, public.bench_stages cascade")
    root.execute("create table public.bench_stages (value text primary key)")
    root.execute(f"insert into public.bench_stages select unnest({VALUES})")
    root.execute(f"create table public.bench_good as select * from public.bench_rows limit {rows}")
    root.execute(f"update public.bench_good set stage = ({VALUES})[1 + id % 6],"
                 " current_stage = null")  # fmt: skip
    file = server.home(bench.state) / "pgdata" / "bench_good.csv"  # the server may write there
    root.execute(f"copy public.bench_good to '{file}'")
    found: Figures = {}
    for number in range(rounds):
        for way in WAYS[number % 4 :] + WAYS[: number % 4]:
            guarded(bench, way)
            for operation, statement in OPERATIONS.items():
                if operation == "COPY":
                    root.execute(f"truncate {TABLE}")
                root.execute(f"vacuum analyze {TABLE}")
                root.execute("checkpoint")
                command = statement.format(file=file)
                found.setdefault((operation, way), []).append(measured(bench, command))
    return found


def report(found: Figures, rows: int) -> Iterator[str]:
    """A line per operation: CPU of each way as a multiple of no guard, and of the CHECK."""
    yield "| CPU per good row | no guard, µs | CHECK | foreign key | guard | guard ÷ CHECK |"
    yield "|---|---:|---:|---:|---:|---:|"
    for operation in OPERATIONS:
        bare = [cpu for _, cpu in found[operation, "no guard"]]
        cells = [f"{statistics.median(bare) / rows * 1e6:.2f}"]
        for way in WAYS[1:]:
            cells.append(spread(ratio(found, operation, way, "no guard")))
        cells.append(spread(ratio(found, operation, "guard", "CHECK")))
        yield f"| {operation} | {' | '.join(cells)} |"


def ratio(found: Figures, operation: str, way: str, base: str) -> list[float]:
    pairs = zip(found[operation, way], found[operation, base], strict=True)
    return [cpu / other for (_, cpu), (_, other) in pairs]


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def applied(bench: Bench, rounds: int) -> list[float]:
    """CPU of apply on a table with the guard in warn, against the same without, by round."""
    found = []
    for number in range(rounds):
        spent = {}
        for way in ("guard", "no guard")[:: 1 if number % 2 else -1]:
            guarded(bench, way)
            bench.reset()
            made = bench.make_plan()
            spent[way] = bench.measured(lambda made=made: bench.apply(made.run_id))["cpu"]
        found.append(spent["guard"] / spent["no guard"])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commit", action="store_true", help="keep the ratios of this run")
    options = parser.parse_args(arguments)
    bench = Bench(2 * options.rows, dirty_share=0.66)
    try:
        out = sys.stdout.write
        out(f"{options.rows:,} rows, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}\n\n")
        figures = writes(bench, options.rows, options.rounds)
        out("\n".join(report(figures, options.rows)) + "\n\n")
        runs = applied(bench, options.rounds)
        out(f"apply beside a guard in warn, CPU: {spread(runs)}\n\n")
        found = {f"guard: {operation} against the CHECK, CPU":
                 statistics.median(ratio(figures, operation, "guard", "CHECK"))
                 for operation in OPERATIONS}  # fmt: skip
        found["guard: apply beside it, CPU"] = statistics.median(runs)
        out("\n".join(ratios.judged(found)) + "\n")
        if options.commit:
            ratios.commit(found)
    finally:
        bench.close()


if __name__ == "__main__":
    main()

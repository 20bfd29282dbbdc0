"""What `trueup verify` costs, beside one grouped count of the same column; see `make bench`.

An embedded server of its own with default settings. The table is portfoliocompanies of the sample
without its trigger; a migration has changed two thirds of it. Each round reads the grouped count
and the checks one after the other, and ratios are of figures of the same round. The joins of keys,
audit_consistency and models_agree, stand apart. Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

import ratios
from apply import TABLE, Bench, largest_memory

from trueup.verification import verify

COUNT = f"select fund_id, stage, count(*) from {TABLE} group by fund_id, stage"
APART = ("audit_consistency", "models_agree")  # they join keys
RATIO = "verify: time against a grouped count"


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
        out("\n".join(ratios.judged(found)) + "\n")
        if options.commit:
            ratios.commit(found)
        out(f"memory of the command: {largest_memory(bench, 'verify'):.0f} MB\n")
    finally:
        bench.close()


if __name__ == "__main__":
    main()

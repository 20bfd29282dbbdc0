"""What moving documents into tables costs, beside one set-based INSERT per table; see `make bench`.

The same rows are written four ways in each round: by an INSERT per table from rows that are ready,
by one from the documents (the views of dbt), and by `trueup app-state apply` with one worker and
with two, which also writes images, refusals and progress. Ratios are of seconds of the same round.
Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import psycopg
import ratios
from apply import Bench

from trueup.app_state import documents
from trueup.core import connection, runs
from trueup.migration import engine, runner

TABLES = ("orgs", "personas", "accounts", "contents", "leads", "references", "inbox_items",
          "documents_rest")  # fmt: skip
# $1 documents of a content application, 40 objects each
DOCUMENTS = """
insert into public.user_app_state (id, user_id, version, updated_at, state)
select
    cast(md5(cast(users.n as text)) as uuid) as id,
    'user-' || to_char(users.n, 'FM000000') as user_id,
    '1.0' as version,
    now() as updated_at,
    jsonb_build_object(
        'orgs', (
            select jsonb_agg(jsonb_build_object(
                'id', 'org-' || n, 'name', 'Organisation ' || n, 'industry', 'Food', 'city', 'Köln',
                'isSensitive', false, 'logo', null, 'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 2) as n
        ),
        'personas', (
            select jsonb_agg(jsonb_build_object(
                'id', 'ip-' || n, 'orgId', 'org-' || 1 + n % 2, 'name', 'Persona ' || n,
                'bio', repeat('bio ', 20), 'status', 'active', 'avgTicketSize', 120.5,
                'brandBook', jsonb_build_object('voice', jsonb_build_array('warm')),
                'createdAt', '2025-01-01T08:00:00.000Z', 'updatedAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 4) as n
        ),
        'accounts', (
            select jsonb_agg(jsonb_build_object(
                'id', 'acc-' || n, 'personaId', 'ip-' || n, 'platform', 'wechat',
                'accountId', 'p' || n, 'accountName', 'name', 'followers', n * 100,
                'isVerified', true, 'status', 'connected', 'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 4) as n
        ),
        'contents', (
            select jsonb_agg(jsonb_build_object(
                'id', 'c-' || n, 'personaId', 'ip-' || 1 + n % 4, 'accountId', 'acc-' || 1 + n % 4,
                'platform', 'wechat', 'title', 'Title ' || n, 'topicCluster', 'skin',
                'format', 'video', 'script', jsonb_build_object('hook', repeat('word ', 40)),
                'evidenceIds', jsonb_build_array(), 'status', 'draft', 'publishedAt', null,
                'weekNumber', n, 'createdAt', '2025-01-01T08:00:00.000Z',
                'updatedAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 14) as n
        ),
        'leads', (
            select jsonb_agg(jsonb_build_object(
                'id', 'l-' || n, 'personaId', 'ip-1', 'name', 'Lead ' || n,
                'contact', 'x@example.org', 'platform', 'wechat', 'source', 'comment',
                'sourceContentId', 'c-' || n, 'status', 'new', 'tags', jsonb_build_array('hot'),
                'notes', '', 'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 10) as n
        ),
        'references', (
            select jsonb_agg(jsonb_build_object(
                'id', 'r-' || n, 'personaId', 'ip-1', 'type', 'article', 'title', 'T',
                'url', 'https://example.org', 'isInspiration', true,
                'collectedAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 3) as n
        ),
        'inboxItems', (
            select jsonb_agg(jsonb_build_object(
                'id', 'in-' || n, 'personaId', 'ip-1', 'type', 'voice', 'title', 'Memo',
                'transcript', repeat('hello ', 20), 'duration', 12.5, 'status', 'new',
                'createdAt', '2025-01-01T08:00:00.000Z'
            )) from generate_series(1, 3) as n
        ),
        'settings', jsonb_build_object('language', 'zh')
    ) as state
from generate_series(1, cast($1 as integer)) as users (n)
"""
WAYS = ("ready rows", "INSERTs from documents", "apply, 1 worker", "apply, 2 workers")


class Documents:
    """The documents, and empty tables."""

    def __init__(self, bench: Bench, users: int) -> None:
        self.bench, self.root = bench, bench.root
        with bench.connect() as connected:  # compiles the statements, too
            documents.init(bench.settings, connected)
        self.root.execute("truncate user_app_state")
        cursor = psycopg.RawCursor(self.root)
        cursor.execute(DOCUMENTS, [users])
        self.root.execute("analyze user_app_state")
        for table in TABLES:
            self.root.execute(f"drop table if exists kept_{table}")

    def empty(self) -> None:
        listed = ", ".join(f'"{table}"' for table in TABLES)
        self.root.execute(f"truncate {listed}, trueup_ledger.migration_audit")
        self.root.execute("checkpoint")

    def keep(self) -> None:
        """Copies of the rows that a run has written."""
        for table in TABLES:
            self.root.execute(f'create table kept_{table} as table "{table}"')

    def insert(self, from_documents: bool) -> None:
        with self.root.transaction():
            for table in TABLES:
                view = from_documents and table != "documents_rest"
                source = f"trueup.fct_app_state_{table}" if view else f"kept_{table}"
                self.root.execute(f'insert into "{table}" select * from {source}')

    def plan(self) -> documents.Plan:
        with self.bench.connect() as connected, connection.snapshot(connected):
            made = documents.make(self.bench.settings, connected, documents.Scope(), 100, False)
            connected.commit()
        return made

    def apply(self, made: documents.Plan, workers: int) -> None:
        with self.bench.connect() as connected:
            run = runs.find(connected, "trueup_ledger", str(made.run_id), runs.PLANNED)
            connected.rollback()
            runner.set_pace(connected, "trueup_ledger", run, runs.PLANNED, workers=workers)
            connected.commit()
        order = runner.order(self.bench.settings, run)
        done = engine.apply(self.bench.connect, order, lambda event: None, engine.Stop())
        assert done.status == "completed", done


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commit", action="store_true", help="keep the ratios of this run")
    options = parser.parse_args(arguments)
    bench = Bench(1000, dirty_share=0.5)
    try:
        out = sys.stdout.write
        out(f"{options.users:,} documents of 40 objects, {options.rounds} rounds,"
            f" load {os.getloadavg()[0]:.1f}\n\n")  # fmt: skip
        store = Documents(bench, options.users)
        store.empty()
        planned = seconds(lambda: store.apply(store.plan(), 1))
        store.keep()
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        plans, again = [], [seconds(store.plan)]
        for number in range(options.rounds):
            for way in WAYS[number % 4 :] + WAYS[: number % 4]:
                store.empty()
                started = time.monotonic()
                if way.startswith("apply"):
                    made = store.plan()
                    plans.append(time.monotonic() - started)
                    started = time.monotonic()
                    store.apply(made, workers=2 if "2" in way else 1)
                else:
                    store.insert(from_documents=way != WAYS[0])
                spent = time.monotonic() - started
                found[way].append(spent)
        again.append(seconds(store.plan))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        out("| way | seconds, median | ÷ INSERTs from documents | ÷ ready rows |\n"
            "|---|---:|---:|---:|\n")  # fmt: skip
        for way in WAYS:
            cells = [spread(found[way], found[base]) for base in (WAYS[1], WAYS[0])]
            out(f"| {way} | {statistics.median(found[way]):.1f} | {' | '.join(cells)} |\n")
        out(f"\nplan {statistics.median(plans):.1f} s, of tables that are filled"
            f" {statistics.median(again):.1f} s, plan and apply {planned:.1f} s;"
            f" memory of the process at most {peak:.0f} MB\n\n")  # fmt: skip
        judged = {
            f"documents: {way} against INSERTs from documents": statistics.median(
                pairs(found[way], found[WAYS[1]])
            )
            for way in WAYS[2:]
        }
        out("\n".join(ratios.judged(judged)) + "\n")
        if options.commit:
            ratios.commit(judged)
    finally:
        bench.close()


def pairs(values: Sequence[float], bases: Sequence[float]) -> list[float]:
    return [value / base for value, base in zip(values, bases, strict=True)]


def spread(values: Sequence[float], bases: Sequence[float]) -> str:
    found = pairs(values, bases)
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


if __name__ == "__main__":
    main()

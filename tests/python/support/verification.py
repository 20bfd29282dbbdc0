"""The checks of a run as `trueup verify` reads them, in a transaction that is rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg

from integration.conftest import App
from support import migration
from trueup.core import statements
from trueup.core.statements import Statement, column_statement
from trueup.findings import ORDER
from trueup.verification.verify import OF_COLUMN, OF_RUN

LEDGER = "trueup_ledger"
DEALS = ("deal_opportunities", "stage")
OPTIONS: dict[str, Any] = {
    "tenants": None, "table_names": None, "is_quiesced": False, "epsilon": 0.000001,
    "sample_size": 100, "seed": 1, "most": None,
}  # fmt: skip
# What the checks say of the migrated sample: a fault shows as what differs from this.
CHECKS = ("batch_tracking", "canonical_values", "null_integrity", "row_counts", "audit_consistency",
          "sample_inspection", "per_fund_breakdown", "weight_sums", "other_columns_untouched",
          "models_agree")  # fmt: skip
CLEAN = dict.fromkeys(CHECKS, "ok") | {
    "canonical_values": "warn",  # values that the plan listed as undecided
    "sample_inspection": "info",
    "per_fund_breakdown": "info",
    "other_columns_untouched": "info",  # the sample has a trigger
}


@dataclass
class Check:
    """What the statements of a check say of it, put together."""

    status: str = "info"
    expected: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    sample: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0

    def add(self, status: str, expected: str, found: str, sample: Any, rows: int) -> None:
        self.status = max(self.status, status, key=ORDER.index)
        self.expected.append(expected)
        self.found.append(found)
        self.sample += sample
        self.sample.sort(
            key=lambda each: (-ORDER.index(each["status"]), each.get("row_key") is None)
        )
        self.rows += rows


Checks = dict[str, Check]


@dataclass(frozen=True)
class Run:
    """A run that has ended, and an open transaction on its database."""

    app: App
    run_id: str
    connection: psycopg.Connection[Any]

    @cached_property
    def statements(self) -> dict[str, Statement]:
        return statements.statements(self.app.settings)

    def query(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def answer(self, name: str, run_id: Any = None, **options: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        values = {**OPTIONS, **options, "run_id": run_id or self.run_id}
        return self.statements[name].run(self.connection, **values).fetchall()

    def checks(
        self, place: tuple[str, str] = DEALS, purposes: tuple[str, ...] = (), **options: Any
    ) -> Checks:
        """The checks of the run and of a column, or what some statements say of them.

        purposes: names of OF_RUN and OF_COLUMN; none means all
        """
        names = [name for name in OF_RUN if not purposes or name in purposes]
        names += [
            name
            for purpose in OF_COLUMN
            if not purposes or purpose in purposes
            if (name := column_statement(purpose, *place)) in self.statements
        ]
        found: Checks = {}
        for name in names:
            for code, *part in self.answer(name, **options):
                found.setdefault(code, Check()).add(*part)
                _assert_sound(place, options.get("most"), *part)
        return found

    def differs(self, *arguments: Any, **options: Any) -> dict[str, str]:
        """The checks that are not as they are without a fault, with their status."""
        found = self.checks(*arguments, **options)
        return {name: check.status for name, check in found.items() if check.status != CLEAN[name]}


def _assert_sound(
    place: tuple[str, str], most: int | None, status: str, expected: str, found: str,
    sample: list[dict[str, Any]], rows: int,
) -> None:  # fmt: skip
    """What holds for every answer of a check."""
    assert expected and found
    assert len(sample) == rows if most is None else len(sample) <= min(rows, most)
    statuses = [row["status"] for row in sample]
    assert statuses == sorted(statuses, key=ORDER.index, reverse=True)  # the worst first
    assert set(statuses) <= {"fail", "info", "warn"}
    worst = statuses[0] if statuses else "info"
    assert status == worst or (worst == "info" and status == "ok")
    for row in sample:
        assert len(row["message"].splitlines()) == 1
        if (row.get("table_name"), row.get("column_name")) == place:
            assert row["message"].startswith(f"{'.'.join(place)}, ")


@contextmanager
def reading(app: App, run_id: Any = None) -> Iterator[Run]:
    """The newest run of a database, or that one, in a transaction; at the end it is rolled back."""
    with migration.connect(app) as connected:
        # rows are compared with the age of the plan, so this transaction needs its number first
        ((newest,),) = connected.execute(
            "select (select cast(run_id as text) from trueup_ledger.migration_runs"
            " order by planned_at desc limit 1) from pg_current_xact_id()"
        ).fetchall()
        run = Run(app, str(run_id or newest), connected)
        run.statements["run__begin_reading"].run(connected)
        yield run
        connected.rollback()

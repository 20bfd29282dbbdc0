"""An application that writes to portfoliocompanies while a migration runs, and remembers what."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from integration.conftest import App
from support import migration
from support.fire import LEDGER, SEED, Connection, one, superuser

WRITERS = 4


class Writer(threading.Thread):
    """A part of the application, with rows of its own and a log of what it has committed.

    rows: key -> [stage, name, fund_id, website, updates] as last committed
    reborn: keys that were deleted and inserted again: their row versions began anew
    """

    def __init__(
        self,
        app: App,
        number: int,
        rows: list[tuple[Any, ...]],
        spellings: dict[str, str | None],
        deadline: float,
    ) -> None:
        super().__init__()
        self.app, self.number, self.deadline = app, number, deadline
        self.random = random.Random(SEED + number)
        self.spellings = spellings
        self.values = sorted(spellings)
        self.rows: dict[int, list[Any]] = {key: [*values, 0] for key, *values in rows}
        self.next = 1_000_000 + number
        self.deleted: set[int] = set()
        self.reborn: set[int] = set()
        self.commits = 0
        self.error: str | None = None

    def run(self) -> None:
        try:
            with migration.connect(self.app, application_name="writer") as connected:
                while time.monotonic() < self.deadline:
                    self.transaction(connected)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"

    def transaction(self, connected: Connection) -> None:
        """Several rows in no order, sometimes slowly, sometimes in vain."""
        pending: dict[int, list[Any] | None] = {}
        for key in self.random.sample(list(self.rows), self.random.randint(1, 6)):
            self.read(connected, key)
            pending[key] = self.write(connected, key)
            if self.random.random() < 0.03:
                time.sleep(self.random.choice((0.01, 0.02, 0.1, 0.3, 1.2)))
        if self.random.random() < 0.2:
            pending.update([self.create(connected)])
        if self.random.random() < 0.05:
            connected.rollback()
            return
        connected.commit()
        self.commits += 1
        for key, row in pending.items():
            if row is None:
                del self.rows[key]
                self.deleted.add(key)
            else:
                self.rows[key] = row
                self.reborn |= {key} & self.deleted
                self.deleted.discard(key)

    def read(self, connected: Connection, key: int) -> None:
        """What is there is what we wrote last, or what it means."""
        found = self.execute(connected, "select stage, name, fund_id, website from"
                             " portfoliocompanies where id = %s for update", key)  # fmt: skip
        was, *others, _ = self.rows[key]
        assert found and list(found[1:]) == others, (key, found, others)
        assert found[0] in (was, self.spellings.get(was)), (key, found[0], was)

    def write(self, connected: Connection, key: int) -> list[Any] | None:
        """The row as it is now; None where it is gone."""
        if key > 3000 and self.random.random() < 0.1:  # the first have investments
            self.execute(connected, "delete from portfoliocompanies where id = %s", key)
            return None
        row = [*self.rows[key][:4], self.rows[key][4] + 1]
        if self.random.random() < 0.8:
            row[0] = self.random.choice(self.values)
        row[1] = f"name {self.random.random()}"
        self.execute(connected, "update portfoliocompanies set stage = %s, name = %s"
                     " where id = %s", row[0], row[1], key)  # fmt: skip
        return row

    def create(self, connected: Connection) -> tuple[int, list[Any]]:
        """Insert a row: at a key that was free again, or at the end."""
        self.next += WRITERS
        key = min(self.deleted) if self.deleted and self.random.random() < 0.5 else self.next
        row = [self.random.choice(self.values), "new", None, None, 0]
        self.execute(connected, "insert into portfoliocompanies (id, stage, name)"
                     " values (%s, %s, %s)", key, row[0], row[1])  # fmt: skip
        return key, row

    def execute(self, connected: Connection, query: str, *values: Any) -> tuple[Any, ...] | None:
        cursor = connected.execute(query, values)
        return cursor.fetchone() if cursor.description else None


def writes_of(writers: list[Writer]) -> dict[int, list[Any]]:
    return {key: row for writer in writers for key, row in writer.rows.items()}


def table(app: App) -> dict[int, list[Any]]:
    """key -> [stage, name, fund_id, website, updates]"""
    return {
        key: row
        for key, *row in app.query(
            "select id, stage, name, fund_id, website, row_version - 1 from portfoliocompanies"
        )
    }


def audit_of(app: App) -> dict[int, list[tuple[str, str]]]:
    """key -> what was changed, in order"""
    found: dict[int, list[tuple[str, str]]] = {}
    for key, before, after in app.query(
        f"select row_id, stage_before, stage_after from {LEDGER}.stage_normalization_log"
        " where action = 'update' order by run_at, batch_id"
    ):
        found.setdefault(int(key), []).append((before, after))
    return found


def watch_blocking(app: App, deadline: float, found: list[float]) -> None:
    """For how many seconds writers have been waiting for the runner, all the time."""
    query = """
        select extract(epoch from max(clock_timestamp() - locks.waitstart))
        from pg_stat_activity as writers
        inner join pg_locks as locks on locks.pid = writers.pid and not locks.granted
        cross join unnest(pg_blocking_pids(writers.pid)) as blocking (pid)
        inner join pg_stat_activity as runner
            on runner.pid = blocking.pid and runner.application_name <> 'writer'
        where writers.application_name = 'writer' and writers.datname = current_database()
    """
    with superuser(app) as watch:
        while time.monotonic() < deadline:
            found.append(float(one(watch, query) or 0))
            time.sleep(0.005)

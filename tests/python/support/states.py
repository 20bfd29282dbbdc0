"""A small table under a run of random events, and an independent record of what became of it.

The table is portfoliocompanies. What people write is known, because they write it here; every
change of a cell, whoever made it, is told by a trigger. `World.settle` judges each change of ours:
was it promised, was it allowed, is it in the books? Nothing is asked of the statements under test.
"""

from __future__ import annotations

import dataclasses
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from integration.conftest import App
from support import fire, migration
from trueup.core import runs
from trueup.core.errors import TrueupError
from trueup.migration import engine, plan, rollback
from trueup.migration import runner as jobs

LEDGER = "trueup_ledger"
TABLE = "portfoliocompanies"
COLUMNS = ("stage", "current_stage")  # the second may be NULL
USER, RUNNER = "user", "trueup apply"
TENANTS = (1, 2, 3, None)
UNKNOWN = ("nobody knows this", "nor this")
OPEN = (*runs.PLANNED, *runs.UNFINISHED)

HISTORY = f"""
create table history (
    seq bigint generated always as identity, at timestamptz default now(), writer text,
    action text, key bigint, tenant text, was jsonb, is_now jsonb
);
create function tell() returns trigger language plpgsql as $$ begin
    insert into history (writer, action, key, tenant, was, is_now) values (
        current_setting('application_name'), tg_op, coalesce(new.id, old.id),
        cast(case when tg_op = 'DELETE' then old.fund_id else new.fund_id end as text),
        to_jsonb(old), to_jsonb(new));
    return null;
end $$;
create trigger tell after insert or update or delete on {TABLE}
    for each row execute function tell();
"""

Cell = tuple[int, str]  # key, column
Connection = psycopg.Connection[Any]


class Killed(Exception):
    """The process is gone."""


class Change(NamedTuple):
    """Of a cell, in the order of `seq`; run: who made it, None for people."""

    seq: int
    before: str | None
    after: str | None
    run: UUID | None
    tenant: str | None
    batch: int | None = None


@dataclass(frozen=True)
class Edit:
    """What people do to some rows: count of them from place `start` on, one in `step`."""

    kind: str  # of KINDS
    start: int
    step: int
    count: int
    value: int


KINDS = (*COLUMNS, "both", "back", "others", "tenant", "move", "delete", "insert", "reinsert")


@dataclass(frozen=True)
class How:
    """How a run is worked on.

    kind:  whole, or what happens to it at the event of this number: pause, cancel, interrupt,
           raise, takeover
    death: it is killed before or after its commit of this number; never where that is 0
    edits: (number of an event, what people do then, how many events later they commit)
    waits: until the leases of the dead are over
    """

    kind: str = "whole"
    at: int = 1
    death: tuple[str, int] = ("before", 0)
    waits: bool = False
    edits: tuple[tuple[int, Edit, int], ...] = ()


class Mortal(psycopg.Connection[Any]):
    """A connection of a process that may be killed."""

    process: Process

    def commit(self) -> None:
        number = self.process.count(self)
        super().commit()
        self.process.may_die("after", number)

    def rollback(self) -> None:
        self.process.may_die("", 0)
        super().rollback()


class Process:
    """A process of the command: its connections are closed and nothing is done after its death."""

    def __init__(self, app: App, how: How) -> None:
        self.app, self.how = app, how
        self.lock = threading.Lock()
        self.commits = 0
        self.is_dead = False
        self.connections: list[Mortal] = []

    def connect(self) -> Mortal:
        if self.is_dead:
            raise psycopg.OperationalError("the process is dead")
        connected = Mortal.connect(self.app.url, prepare_threshold=None, application_name=RUNNER)
        connected.process = self
        self.connections.append(connected)
        return connected

    def count(self, connected: Mortal) -> int:
        with self.lock:
            self.commits += 1
            number = self.commits
        self.may_die("before", number)
        return number

    def may_die(self, when: str, number: int) -> None:
        """Killed, at this commit or before."""
        self.is_dead |= self.how.death == (when, number)
        if self.is_dead:
            raise Killed

    def close(self) -> None:
        for connected in self.connections:
            connected.close()


@dataclass
class Run:
    """A run, as it was planned; of a rollback, what the run that is taken back had changed.

    promised: cells that must have been changed when it is completed
    values:   column -> what becomes of its values; of a rollback the first values in scope
    seq:      of the last change before the plan
    """

    run_id: UUID
    kind: str
    tenants: tuple[str | None, ...] | None
    promised: set[Cell]
    seq: int
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    bound: int = 0
    by_tenant: bool = False
    reverts: UUID | None = None
    values_before: tuple[str, ...] = ()
    batch: int | None = None  # of the run that is taken back, where only that one is
    is_judged: bool = False


class World:
    """The database of an example, its runs, and what is known of its rows."""

    def __init__(self, app: App, spellings: dict[str, str], tally: Counter[str]) -> None:
        self.app = app
        self.tally = tally  # what was seen, so that a test knows that it tests something
        self.spellings = spellings  # what becomes of them
        clean = list(dict.fromkeys(spellings.values()))
        self.pool: list[str | None] = [*spellings, *clean, *UNKNOWN, None]
        self.people = psycopg.connect(app.url, autocommit=True, application_name=USER)
        self.people.execute("set lock_timeout = '5s'")
        self.watch = app.connect()
        self.holder: Connection | None = None
        self.held: set[int] = set()
        self.late: set[int] = set()  # keys written after a run had come to its end

    def close(self) -> None:
        for connected in (self.people, self.watch):
            connected.close()

    # ------------------------------------------------------------------------------ beginning

    def begin(self, rows: int, step: int, seed: int) -> None:
        """An empty ledger, and so many rows at every `step`-th key."""
        tables = fire.one(
            self.watch, "select string_agg(format('%%I.%%I', schemaname, tablename), ', ')"
            " from pg_tables where schemaname = %s", LEDGER,
        )  # fmt: skip
        self.watch.execute(f"truncate {tables}, {TABLE}, history restart identity cascade".encode())
        chosen = random.Random(seed)
        self.runs: dict[UUID, Run] = {}
        self.cells: dict[Cell, list[Change]] = {}
        self.gone: set[int] = set()
        self.moved: dict[int, int] = {}  # key -> seq of the last change of its tenant
        self.others: dict[int, list[Any]] = {}  # what people wrote beside
        self.seq = 0
        self.seen: set[tuple[Any, int, str]] = set()  # entries of the audit
        self.step = step
        for number in range(1, rows + 1):
            values = chosen.choices(self.pool, k=2)
            self._insert(self.people, number * step, values, chosen.choice(TENANTS))
        self.settle()

    # --------------------------------------------------------------------------------- people

    def edit(self, edit: Edit, connected: Connection | None = None) -> list[int]:
        """Returns the keys of the rows that were written."""
        connected = connected or self.people
        keys = sorted(self.others.keys() - self.held)
        chosen = keys[edit.start % max(len(keys), 1) :: edit.step][: edit.count]
        if edit.kind == "insert":
            top = max([0, *self.others, *self.gone]) + self.step
            chosen = [top + number * self.step for number in range(edit.count)]
        elif edit.kind == "reinsert":
            chosen = sorted(self.gone - self.held)[: edit.count]
        for number, key in enumerate(chosen):
            value = self.pool[(edit.value + number) % len(self.pool)]
            self._edit(connected, edit.kind, key, value, number)
        return chosen

    def _edit(
        self, connected: Connection, kind: str, key: int, value: str | None, number: int
    ) -> None:
        def write(column: str, value: Any) -> None:
            connected.execute(f"update {TABLE} set {column} = %s where id = %s", [value, key])

        if kind in (*COLUMNS, "both"):
            for column in COLUMNS if kind == "both" else (kind,):
                write(column, UNKNOWN[0] if value is None and column == "stage" else value)
        elif kind == "back":  # the value it had once
            for column in COLUMNS:
                write(column, self.cells[key, column][0].after if (key, column) in self.cells
                      else self.pool[0])  # fmt: skip
        elif kind == "others":
            self.others[key][1] = f"name {value} {number}"
            write("name", self.others[key][1])
        elif kind in ("tenant", "move"):  # to another tenant; with another stage
            self.others[key][0] = TENANTS[number % len(TENANTS)]
            write("fund_id", self.others[key][0])
            if kind == "move":
                write("stage", value or UNKNOWN[0])
        elif kind == "delete":
            connected.execute(f"delete from {TABLE} where id = %s", [key])
            del self.others[key]
            self.gone.add(key)
        else:
            self._insert(connected, key, [value, value], TENANTS[number % len(TENANTS)])

    def _insert(
        self, connected: Connection, key: int, values: Sequence[str | None], tenant: int | None
    ) -> None:
        self.others[key] = [tenant, f"company {key}", None]
        self.gone.discard(key)
        connected.execute(
            f"insert into {TABLE} (id, stage, current_stage, fund_id, name)"
            " values (%s, %s, %s, %s, %s)",
            [key, values[0] or UNKNOWN[0], values[1], tenant, self.others[key][1]],
        )

    def hold(self, edit: Edit) -> None:
        """People who take their time: nobody else writes these rows before `let_go`."""
        self.let_go()
        self.holder = migration.connect(self.app, application_name=USER)
        self.holder.execute("set lock_timeout = '5s'")
        self.held = set(self.edit(edit, self.holder))

    def let_go(self) -> None:
        if self.holder:
            self.holder.commit()
            self.holder.close()
        self.holder = None
        self.held = set()

    # ----------------------------------------------------------------------------------- runs

    def make_plan(
        self, columns: tuple[str, ...], tenants: tuple[str, ...], pace: plan.Pace
    ) -> UUID | None:
        """None where there is nothing to change."""
        scope = plan.Scope((TABLE,), columns, tenants)
        wanted = tuple(None if name == runs.NO_TENANT else name for name in tenants) or None
        rows = {key: text(tenant) for key, (tenant, *_) in self.others.items()}
        unknown = set(wanted or ()) - {None} - set(rows.values())
        try:
            made = migration.make_plan(self.app, scope, pace)
        except TrueupError as error:
            open_ = any(self.state(run)[0] in OPEN for run in self.runs)
            refused = "a runner works on" in str(error) or "resume or cancel" in str(error)
            assert (refused and open_) or (unknown and "have no such row" in str(error)), error
            return None
        assert not unknown
        promised = {
            (key, column)
            for key in rows
            for column in columns or COLUMNS
            if self.value(key, column) in self.spellings and (wanted is None or rows[key] in wanted)
        }
        values: dict[str, dict[str, str]] = {column: {} for column in columns or COLUMNS}
        for cell in promised:
            value = str(self.value(*cell))
            values[cell[1]][value] = self.spellings[value]
        assert made.rows_planned == len(promised)
        assert {
            each["column_name"]: {v["before"]: v["after"] for v in each["values"] if v["after"]}
            for each in made.columns
        } == values
        self.runs[made.run_id] = Run(
            made.run_id, "migrate", wanted, promised, self.seq, values, max(rows, default=0),
            pace.by_tenant,
        )  # fmt: skip
        with migration.connect(self.app) as connected:
            jobs.close_empty(self.app.settings, connected, made)
        return made.run_id

    def plan_rollback(self, run_id: UUID, scope: rollback.Scope, pace: plan.Pace) -> UUID | None:
        """None where it is refused, or nothing can be restored."""
        reverted = self.runs[run_id]
        status, held, _ = self.state(run_id)
        made = None
        try:
            with migration.connect(self.app) as connected:
                found = rollback.find(self.app.settings, connected, str(run_id), scope)
                connected.rollback()
                made = rollback.make(self.app.settings, connected, found, scope, pace, keep=True)
        except TrueupError as error:
            assert status not in runs.FINISHED or held, error
            return None
        assert status in runs.FINISHED and not held
        tenants = tuple(None if name == runs.NO_TENANT else name for name in scope.tenants) or None
        run = Run(UUID(int=0), "rollback", tenants, set(), self.seq, reverts=reverted.run_id,
                  values_before=scope.values_before, batch=scope.batch_id)  # fmt: skip
        reasons = {cell: self.reason(run, cell) for cell in self.changed_by(run)}
        run.promised = {cell for cell, reason in reasons.items() if reason is None}
        assert made.rows == len(run.promised)
        assert made.reasons == Counter(reason for reason in reasons.values() if reason)
        if made.run_id is None:
            assert not run.promised
            return None
        run.run_id = made.run_id
        self.runs[made.run_id] = run
        return made.run_id

    def work(self, run_id: UUID, how: How) -> str:
        """Apply or resume; returns how it ended."""
        process = Process(self.app, how)
        stop = engine.Stop()
        seen = 0
        until = 0
        if how.waits:
            self.let_time_pass()
        *_, is_cancelled = self.state(run_id)
        free = self.is_free(run_id) and not is_cancelled

        def report(event: engine.Event) -> None:
            nonlocal seen, until
            process.may_die("", 0)
            seen += 1
            if self.holder and seen >= until:
                self.let_go()
            for at, edit, length in how.edits:
                if at == seen and length and not self.holder:
                    self.hold(edit)
                    until = seen + length
                elif at == seen:
                    keys = self.edit(edit)
                    self.late |= set(keys if taken else ())
            if how.at == seen:
                disturb()

        def disturb() -> None:
            if how.kind in ("pause", "cancel"):
                self.ask(run_id, "paused" if how.kind == "pause" else "cancelled")
            elif how.kind == "interrupt":
                stop.requested = True
            elif how.kind == "raise":
                raise RuntimeError("on purpose")
            elif how.kind == "takeover":
                self.let_time_pass()
                taken.append(self.work(run_id, How()))
                ended_at.append(self.last_change())
                # the one that has lost it would like to change these
                self.late |= set(self.edit(Edit("both", seen, 2, 60, seen)))

        taken: list[str] = []
        ended_at: list[int] = []
        try:
            order = self.order(run_id)
            ended = engine.apply(process.connect, order, report, stop).status
            assert free and not taken
        except Killed:
            ended = "killed"
        except engine.LeaseLost:
            ended = "lease lost"
            assert taken
        except RuntimeError:
            assert how.kind == "raise"
            ended = "killed" if process.is_dead else "interrupted"  # while it wanted to leave
        except TrueupError as error:
            assert not free, error
            ended = "refused"
        finally:
            self.late |= self.held
            process.close()
            self.let_go()
        self.tally[f"{self.runs[run_id].kind} {'taken over' if taken else ended}"] += 1
        if taken:
            assert self.last_change() == ended_at[0], "changed by a runner that had lost its lease"
            return taken[0]
        allowed = {"killed", "refused", "completed"}
        allowed |= {"pause": {"paused"}, "cancel": {"cancelled"}}.get(how.kind, set())
        allowed |= {"interrupt": {"interrupted"}, "raise": {"interrupted"}}.get(how.kind, set())
        allowed |= {"completed_with_failures"} if self.late else set()
        assert ended in allowed, (ended, how)
        if ended not in ("killed", "refused"):
            assert self.state(run_id) == (ended, False, False)
        return ended

    def order(self, run_id: UUID) -> engine.Order:
        with migration.connect(self.app) as connected:
            run = runs.find(connected, LEDGER, str(run_id), OPEN)
        order = jobs.order(self.app.settings, run)
        return dataclasses.replace(order, lock_timeout_ms=20, lease_seconds=600)

    def ask(self, run_id: UUID, status: str) -> bool:
        """Pause or cancel; returns whether it is done by now."""
        with migration.connect(self.app) as connected:
            run = runs.find(connected, LEDGER, str(run_id), OPEN)
            holder = runs.request(connected, LEDGER, run, status, OPEN)
            if holder is None:
                plan.close(self.app.settings, connected, run, status, OPEN)
            connected.commit()
        return holder is None

    def let_time_pass(self) -> None:
        """The leases of the dead end."""
        fire.let_time_pass(self.watch, hours=1)

    # ------------------------------------------------------------------------------- the model

    def value(self, key: int, column: str) -> str | None:
        return self.cells[key, column][-1].after

    def state(self, run_id: UUID) -> tuple[str, bool, bool]:
        """Status, whether somebody holds it, whether it is to be cancelled."""
        row = self.watch.execute(
            "select status, (select coalesce(bool_or(lease_until >= now()), false) from"
            f" {LEDGER}.stage_migration_control as c where c.run_id = r.run_id),"
            " (select coalesce(bool_or(requested_status = 'cancelled'), false) from"
            f" {LEDGER}.stage_migration_control as c where c.run_id = r.run_id)"
            f" from {LEDGER}.migration_runs as r where run_id = %s", [run_id],
        ).fetchone()  # fmt: skip
        assert row
        return str(row[0]), bool(row[1]), bool(row[2])

    def last_change(self) -> int:
        """Of ours, that is."""
        query = "select coalesce(max(seq), 0) from history where writer = %s"
        return int(fire.one(self.watch, query, RUNNER))

    def is_free(self, run_id: UUID) -> bool:
        """Nobody works on its columns."""
        query = (
            f"select count(*) from {LEDGER}.stage_migration_control as ours"
            f" inner join {LEDGER}.stage_migration_control as theirs using (column_name)"
            " where ours.run_id = %s and theirs.lease_until >= now()"
        )
        return bool(fire.one(self.watch, query, run_id) == 0)

    def changed_by(self, run: Run) -> Iterator[Cell]:
        """Cells that the run which a rollback takes back has changed, and that are in its scope."""
        for cell, changes in self.cells.items():
            own = [change for change in changes if change.run == run.reverts]
            if (
                own
                and (not run.values_before or own[0].before in run.values_before)
                and (run.tenants is None or any(change.tenant in run.tenants for change in own))
                and (run.batch is None or any(change.batch == run.batch for change in own))
            ):
                yield cell

    def batches(self, run_id: UUID) -> list[int]:
        """Those that have changed cells."""
        changes = (change for cell in self.cells.values() for change in cell)
        return sorted({int(each.batch or 0) for each in changes if each.run == run_id})

    def reason(self, run: Run, cell: Cell) -> str | None:
        """Why a rollback leaves a cell alone; None where it can be restored."""
        changes = self.cells[cell]
        ours = [change for change in changes if change.run]
        written = [change for change in ours if change.run == run.reverts][-1]
        if cell[0] in self.gone:
            return "deleted"
        if ours[-1].run != run.reverts:
            return "changed by a later run"
        return None if changes[-1].after == written.after else "edited"

    def first(self, run_id: UUID | None, cell: Cell) -> str | None:
        return next(change.before for change in self.cells[cell] if change.run == run_id)

    # ----------------------------------------------------------------------------- invariants

    def settle(self) -> None:
        """Everything that must hold after every step."""
        fire.until(lambda: fire.one(
            self.watch, "select count(*) from pg_stat_activity where application_name = %s"
            " and datname = current_database()", RUNNER) == 0)  # fmt: skip
        self._take_history(self._audit())
        found = self.watch.execute(
            f"select id, stage, current_stage, fund_id, name, website, row_version from {TABLE}"
        ).fetchall()
        assert {key: [tenant, name, website] for key, _, _, tenant, name, website, _ in found} == (
            self.others
        )
        for key, *values in found:
            assert values[:2] == [self.value(key, column) for column in COLUMNS], key
        self._check_books()
        for run in self.runs.values():
            if not run.is_judged and self.state(run.run_id)[0] == "completed":
                (self._check_rollback if run.reverts else self._check_migration)(run)
                run.is_judged = True
        self.late = set()

    def _audit(self) -> dict[tuple[Any, int, str], tuple[Any, ...]]:
        """What the ledger says: (when, key, column) -> (run, before, after, tenant, batch)."""
        rows = self.watch.execute(
            "select run_at, row_id, column_name, run_id, stage_before, stage_after, tenant,"
            f" batch_id from {LEDGER}.stage_normalization_log where table_name = %s", [TABLE],
        ).fetchall()  # fmt: skip
        found = {(at, int(key), column): tuple(rest) for at, key, column, *rest in rows}
        assert len(found) == len(rows), "a change is in the audit twice"
        self.audit = found
        return found

    def _take_history(self, audit: dict[tuple[Any, int, str], tuple[Any, ...]]) -> None:
        rows = self.watch.execute(
            "select seq, at, writer, action, key, tenant, was, is_now from history where seq > %s"
            " order by seq", [self.seq],
        ).fetchall()  # fmt: skip
        unseen = audit.keys() - self.seen
        for seq, at, writer, action, key, tenant, was, is_now in rows:
            self.seq = seq
            if writer == RUNNER:
                assert action == "UPDATE", f"{action} of row {key}"
                column = self._changed_column(was, is_now)
                entry = (at, key, column)
                assert entry in unseen, f"change of {key} {column} is not in the audit"
                unseen.discard(entry)
                self.seen.add(entry)
                run_id, before, after, audited_tenant, batch = audit[entry]
                assert (before, after) == (was[column], is_now[column]), entry
                assert audited_tenant == tenant
                change = Change(seq, before, after, run_id, tenant, batch)
                self._judge(self.runs[run_id], (key, column), change)
                if any(each.run == run_id for each in self.cells[key, column]):
                    self.tally["cell changed twice in a run"] += 1
                self.cells[key, column].append(change)
                self.tally[f"cell changed by {self.runs[run_id].kind}"] += 1
                continue
            if action != "UPDATE" or was["fund_id"] != is_now["fund_id"]:
                self.moved[key] = seq
            for column in COLUMNS:
                before, after = (row and row[column] for row in (was, is_now))
                if action != "UPDATE" or before != after:
                    change = Change(seq, before, after, None, tenant)
                    self.cells.setdefault((key, column), []).append(change)
        assert not unseen, f"in the audit, but not done: {unseen}"

    def _changed_column(self, was: dict[str, Any], is_now: dict[str, Any]) -> str:
        changed = [name for name in was if was[name] != is_now[name]]
        changed = [name for name in changed if name not in ("row_version", "updated_at")]
        assert len(changed) == 1 and changed[0] in COLUMNS, changed
        return changed[0]

    def _judge(self, run: Run, cell: Cell, change: Change) -> None:
        """Was a run allowed to change this cell, then, to this?"""
        key, column = cell
        if run.reverts is None:
            assert run.values[column].get(str(change.before)) == change.after, (cell, change)
            assert run.tenants is None or change.tenant in run.tenants, (cell, change)
            assert key <= run.bound, (cell, change)
            return
        assert cell in set(self.changed_by(run)), (cell, change)
        ours = [each for each in self.cells[cell] if each.run]
        assert ours[-1].run == run.reverts, f"{cell} was changed by a later run"
        assert ours[-1].after == change.before, f"{cell} was edited: {self.cells[cell]}"
        assert change.after == self.first(run.reverts, cell), (cell, change, self.cells[cell])

    def _check_migration(self, run: Run) -> None:
        """Completed: every promised row that nobody else has changed is changed."""
        for key, column in run.promised:
            if key in self.gone or (
                self.moved[key] > run.seq and (run.by_tenant or run.tenants is not None)
            ):
                continue
            assert self.cells[key, column][-1].seq > run.seq, (key, column, self.value(key, column))

    def _check_rollback(self, run: Run) -> None:
        """Completed: back at the first value, or listed with all three."""
        listed = {
            (int(key), column): tuple(rest)
            for key, column, *rest in self.watch.execute(
                "select row_key, column_name, value_before, value_written, value_now, reason"
                f" from {LEDGER}.migration_conflicts where run_id = %s", [run.run_id],
            )
        }  # fmt: skip
        for cell in self.changed_by(run):
            changes = self.cells[cell]
            if any(change.run == run.run_id for change in changes):
                continue
            before = self.first(run.reverts, cell)
            written = [change for change in changes if change.run == run.reverts][-1].after
            now = None if cell[0] in self.gone else changes[-1].after
            expected = (before, written, now, self.reason(run, cell))
            found = listed.pop(cell, None)
            assert found, (cell, expected, changes)
            assert found == expected or cell[0] in self.late, (found, expected, changes)
            self.tally[f"conflict: {expected[3]}"] += 1
        assert not listed, listed

    def _check_books(self) -> None:
        counted = Counter(batch for *_, batch in self.audit.values())
        for batch, run_id, status, run_status, updated, failed, skipped, rows in self.watch.execute(
            "select batch_id, run_id, b.status, r.status, rows_updated, rows_failed, rows_skipped,"
            f" rows_in_batch from {LEDGER}.stage_migration_batches as b"
            f" inner join {LEDGER}.migration_runs as r using (run_id)"
        ).fetchall():
            assert updated == counted.pop(batch, 0), f"batch {batch} of {run_id} says {updated}"
            assert failed == 0
            if status == "completed":
                assert skipped == max(rows - updated, 0), (batch, skipped, rows, updated)
            if run_status == "completed":
                assert status == "completed", (batch, status)
            if run_status == "cancelled":
                assert status in ("completed", "cancelled"), (batch, status)
        assert not counted, counted
        by_cell: dict[Cell, list[tuple[Any, ...]]] = {}
        for (at, key, column), (_, before, after, *_) in self.audit.items():
            by_cell.setdefault((key, column), []).append((at, before, after))
        for cell, entries in by_cell.items():
            chain = [change[1:3] for change in self.cells[cell] if change.run]
            assert [entry[1:] for entry in sorted(entries, key=lambda each: each[0])] == chain


def text(tenant: int | None) -> str | None:
    return None if tenant is None else str(tenant)


def prepare(app: App) -> dict[str, str]:
    """Once per database: who changes what is told. Returns a few spellings and what they mean."""
    with app.connect() as connected:
        connected.execute(HISTORY)
    found = app.query(
        "select canonical_value, (array_agg(raw_value order by weight desc, raw_value))[:2]"
        " from trueup_sample.spellings where resolution = 'exact' group by canonical_value"
        " having count(*) > 2 order by canonical_value limit 2"
    )
    return {spelling: canonical for canonical, spellings in found for spelling in spellings}

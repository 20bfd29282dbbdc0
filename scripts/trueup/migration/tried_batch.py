"""The batch that a rehearsal tries out, in a transaction that is rolled back.

It runs as in `trueup apply`: it shows which rows the database refuses, what else triggers change,
and how long it takes. Rows are locked only for the duration of one batch.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg

from trueup.core.connection import Connection
from trueup.core.errors import first_line
from trueup.core.statements import Rows, Statement, column_statement
from trueup.migration import keys
from trueup.migration.keys import Piece
from trueup.migration.session import TIMEOUT_SHARE, begin_scan, classify

EXAMPLES = 3  # rows that the database refuses, shown with their reason
TRIES = 60  # transactions that look for them
MOST_BYTES = 64 * 1024**2  # of the rows of one try: they are read whole
SHOWN = 200  # characters of a value that is shown

# Figures of the log by their names in the answer of explain.
LOGGED = {"wal_bytes": "WAL Bytes", "wal_records": "WAL Records", "page_images": "WAL FPI"}
QUARANTINED, STOPS, KEPT = "quarantined", "stops the run", "left as it is"
TOGETHER, UNTRIED = "refused together", "not tried"


class Row(NamedTuple):
    """A row in the database; other_columns: JSON of all except the managed one."""

    row_key: str
    row_version: str
    value: str | None
    other_columns: str


class _Done(NamedTuple):
    """A try without an error, which was rolled back.

    log:    WAL Bytes, WAL Records, WAL FPI
    writes: rows that triggers wrote, by table and action
    """

    rows_changed: int
    duration_ms: float
    log: Mapping[str, int]
    rows: dict[str, Row]
    writes: Counter[tuple[str, str]]


class Trial:
    """The tries of one batch, and their results so far."""

    def __init__(
        self,
        connected: Connection,
        found: Mapping[str, Statement],
        batch: Mapping[str, Any],
        facts: Mapping[str, Any],
        options: Mapping[str, Any],
        lock_timeout_ms: int,
    ) -> None:
        """batch: a row of rehearsal__batches; facts: that of tables__of_plan; options: of the run.

        found: the statements of the project
        """
        self.connected = connected
        self.statements = found
        self.facts = facts
        self.lock_timeout_ms = lock_timeout_ms
        self.place = (batch["table_name"], batch["column_name"])
        self.writes: Counter[tuple[str, str]] = Counter()
        self.tries = 0
        self.error = ""  # the last one
        by_tenant = options["by_tenant"]
        mappings = zip(batch["values_before"], batch["values_after"], batch["map_ids"], strict=True)
        self.planned = keys.values(mappings)
        self.values: dict[str, Any] = {
            **batch,
            "batch_id": -batch["batch_id"],
            "stripe_batches": [
                batch["batch_id"] if stripe == batch["stripe"] else None
                for stripe in range(batch["stripes"])
            ],
            "tenants": [batch["fund_id"]] if by_tenant else options["tenants"],
            "by_tenant": by_tenant,
            "canonical_values": None,
            "relation": facts["qualified"],
            **self.planned.of(self.planned.before),
        }
        self.found: dict[str, Any] = {
            "batch_id": batch["batch_id"], "rows_planned": batch["rows_planned"],
            **dict.fromkeys(("rows", "rows_changed", "parts", "duration_ms", *LOGGED), 0),
            "is_complete": True, "refusals": [], "other_columns": [], "other_rows": [],
            "notes": [],
        }  # fmt: skip

    def call(self, statement: str, **values: Any) -> Rows:
        """A statement of the project, with those of the values that it takes."""
        return self.statements[statement].run_with(self.connected, {**self.values, **values})

    def own(self, purpose: str) -> str:
        """The name of the column's own statement."""
        return column_statement(purpose, *self.place)

    def run(self) -> dict[str, Any]:
        """Run the batch and roll it back; then, if it fails, parts of it, down to single rows.

        Returns a document:
        rows_planned:  of the batch; rows: of them those that were tried; rows_changed: and changed,
                       in so many parts, each of which was rolled back before the next
        duration_ms:   of the transaction, without the commit
        wal_bytes:     of the log, in wal_records records, with page_images images of whole pages
        is_complete:   every refused row is listed, not only the first ones
        refusals:      {row_key, sqlstate, message, consequence}: errors for which `trueup apply`
                       would exit with 1; row_key is None if one concerns several rows.
                       consequence: quarantined, stops the run, left as it is (no error, and no
                       change either), refused together (though each row alone is accepted), or
                       not tried (the search ended before)
        other_columns: {column_name, rows, row_key, before, after}: columns that change with the
                       managed one, set by a trigger or generated, with one of the rows
        other_rows:    {relation, action, rows}: rows that triggers inserted, updated or deleted
        notes:         sentences about what was not tried
        """
        for piece in map(self._narrow, self._listed()):
            self._search(piece)
        if not self.found["is_complete"]:
            message = f"the search ended after {self.tries} tries: {self.error}"
            self._refuse(None, None, message, UNTRIED, rows=0)
        return self.found

    def _search(self, piece: Piece) -> None:
        """Try a piece; if it fails, its parts."""
        refusals = self.found["refusals"]
        if refusals and refusals[-1]["consequence"] == STOPS:
            return
        if self.tries >= TRIES or len(refusals) >= EXAMPLES:
            self.found["is_complete"] = False
            return
        before = self._read(piece)
        self.tries += 1
        try:
            done = self._try(piece)
        except psycopg.Error as error:
            if self.connected.closed:
                raise
            self.error = first_line(error)
            self._after_error(piece, error)
        else:
            self._note(piece, before, self._without_images(piece, done))

    def _listed(self) -> list[Piece]:
        """The rows of the batch that would change."""
        begin_scan(self.statements, self.connected, ["run__begin_list"])
        statement = self.statements[self.own("keys_to_change")]
        answer = statement.run_with(self.connected, self.values, is_binary=True)
        (self.values["is_partitioned"],) = [
            is_partitioned for _, is_partitioned in self.call(self.own("table_now"))
        ]
        found = [
            Piece(each, 1, each.total) for listed in keys.lists(answer).values() for each in listed
        ]
        self.connected.rollback()
        return found

    def _narrow(self, piece: Piece) -> Piece:
        """The part of the batch that may be read at once."""
        rows, size = self.facts["estimated_rows"], self.facts["bytes"]
        most = max(MOST_BYTES * (rows or 0) // max(size, 1), 1)
        if not rows or piece.last_place <= most:
            return piece
        self.found["notes"].append(
            f"only the first {most:,} rows of the batch were tried: rows are wide"
        )
        return piece._replace(last_place=most)

    def _without_images(self, piece: Piece, done: _Done) -> _Done:
        """The same again if the log got whole pages: it has them now, so only records count."""
        if done.log["WAL FPI"]:
            with suppress(psycopg.Error):  # other sessions hold the rows now
                return self._try(piece)._replace(duration_ms=done.duration_ms)
        return done

    def _values(self, piece: Piece) -> dict[str, Any]:
        """Parameters of statements about a piece."""
        return {
            **piece.keys.arrays,
            **self.planned.of(piece.keys.map_ids),
            "first_place": piece.first_place,
            "last_place": piece.last_place,
        }

    def _try(self, piece: Piece) -> _Done:
        """One transaction, sent as a whole: rows are not locked during round trips."""
        limit = int(self.facts["deadlock_timeout_ms"] * TIMEOUT_SHARE)
        values = {**self._values(piece), "run_id": uuid.uuid4(), "lease_token": uuid.uuid4()}
        change = self.statements[self.own("apply_batch")]
        explained = f"explain (analyze, wal, timing off, format json)\n{change.sql}"
        try:
            with self.connected.pipeline():
                self.call(
                    "run__begin_batch",
                    lock_timeout=f"{min(self.lock_timeout_ms, limit)}ms",
                    statement_timeout=f"{limit}ms",
                    transaction_timeout=f"{limit * 3}ms",
                    waits_for_disk=True,
                    by_keys=True,
                )
                self.call("rehearsal__take", **values)
                written_before = self.call("rehearsal__writes")
                explaining = change._replace(sql=explained)
                changed = explaining.run_with(self.connected, {**self.values, **values})
                self.connected.execute("set constraints all immediate")
                self.call(self.own("confirm_piece"), **values)
                finished = self.call(
                    "run__finish_changes", **values, is_last=True, error_message=None
                )
                rows = self.call(self.own("rehearsal_rows"), **values)
                written = self.call("rehearsal__writes")
                self.connected.execute("rollback")
        finally:
            if not self.connected.closed:
                self.connected.rollback()
        ((plans,),), ((_, count, _, _, duration_ms, *_),) = changed.fetchall(), finished.fetchall()
        writes = _counted(written) - _counted(written_before)
        writes[self.facts["qualified"], "updated"] -= count
        found = {row[0]: Row(*row) for row in rows}
        return _Done(count, duration_ms, plans[0]["Plan"], found, +writes)

    def _after_error(self, piece: Piece, error: psycopg.Error) -> None:
        """Search the parts of a piece that failed; note the row, or what else is the reason."""
        found, message, kind = self.found, first_line(error), classify(error)
        rows = piece.last_place - piece.first_place + 1
        if kind == "bad row" and piece.is_single:
            self._refuse(keys.text(piece), error.sqlstate, message, QUARANTINED)
        elif kind == "bad row":
            known = len(found["refusals"])
            for part in piece.cut(2):
                self._search(part)
            explained = {each["sqlstate"] for each in found["refusals"][known:]}
            if found["is_complete"] and error.sqlstate not in explained:
                message = f"{rows:,} rows are refused together: {message}"
                self._refuse(None, error.sqlstate, message, TOGETHER, rows=0)
        elif error.sqlstate == "57014" and not piece.is_single:
            found["notes"].append(
                f"{rows:,} rows took longer than a batch is allowed: apply cuts it smaller"
            )
            self._search(piece.cut(2)[0])
        elif error.sqlstate == "57014":
            found["notes"].append(f"even one row takes longer than a batch is allowed: {message}")
        elif kind == "retry":
            found["notes"].append(
                f"not tried, other sessions held its rows: {message}; apply waits and tries again"
            )
        else:
            self._refuse(None, error.sqlstate, message, STOPS, rows=0)

    def _refuse(
        self, key: str | None, state: str | None, message: str, consequence: str, rows: int = 1
    ) -> None:
        self.found["rows"] += rows
        self.found["refusals"].append({"row_key": key, "sqlstate": state, "message": message,
                                       "consequence": consequence})  # fmt: skip

    def _note(self, piece: Piece, before: Mapping[str, Row], done: _Done) -> None:
        """The result of a try; rows that other sessions changed meanwhile are ignored."""
        found = self.found
        found["rows"] += done.rows_changed
        found["rows_changed"] += done.rows_changed
        found["parts"] += 1
        found["duration_ms"] += done.duration_ms
        for name, logged in LOGGED.items():
            found[name] += done.log[logged]
        self.writes += done.writes
        found["other_rows"] = [
            {"relation": relation, "action": action, "rows": rows}
            for (relation, action), rows in sorted(self.writes.items())
        ]
        suspects = [
            key
            for key, row in before.items()
            if key not in done.rows
            or done.rows[key].value == row.value
            or done.rows[key].other_columns != row.other_columns
        ]
        again = self._read(piece) if suspects else {}
        kept = []
        for key in suspects:
            old, new = before[key], done.rows.get(key)
            if key not in again or again[key].row_version != old.row_version:
                continue  # an edit of another session
            if new is None or new.value == old.value:
                kept.append(key)
            else:
                self._compare(key, old, new)
        if kept:
            keys = ", ".join(kept[:EXAMPLES])
            message = f"{len(kept):,} rows keep their value, without an error: {keys}"
            self._refuse(kept[0], None, message, KEPT, rows=len(kept))

    def _compare(self, key: str, old: Row, new: Row) -> None:
        """Record the other columns that have changed."""
        before, after = (
            json.loads(row.other_columns, parse_float=str, parse_int=str) for row in (old, new)
        )
        known = {each["column_name"]: each for each in self.found["other_columns"]}
        for name in after:
            if before.get(name) != after[name]:
                values = {"before": _shown(before.get(name)), "after": _shown(after[name])}
                first = {"column_name": name, "rows": 0, "row_key": key, **values}
                known.setdefault(name, first)["rows"] += 1
        self.found["other_columns"] = [known[name] for name in sorted(known)]

    def _read(self, piece: Piece) -> dict[str, Row]:
        """Rows by key, read without a lock."""
        found = self.call(self.own("rehearsal_rows"), **self._values(piece)).fetchall()
        self.connected.rollback()
        return {row[0]: Row(*row) for row in found}


def _counted(rows: Rows) -> Counter[tuple[str, str]]:
    """Rows written, by table and action."""
    return Counter({(relation, action): count for action, count, relation in rows})


def _shown(value: Any) -> str | None:
    """A value of a JSON object as text, shortened if it is long."""
    text = value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False)
    return text if text is None or len(text) <= SHOWN else text[:SHOWN] + "…"

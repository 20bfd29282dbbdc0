"""What a run would cost, told by a scratch copy of one range, changed stripe by stripe.

The copy stands in the ledger's schema: a table made like the application's, with the rows of the
range in the order in which they lie on disk. Stripes pay only when each is committed, so these are;
then the table is dropped. What a kill leaves behind is dropped by the next rehearsal of the column.

The log holds a page whole when it is touched first after a checkpoint. The copy's pages are younger
than the last one, so these images are not measured but counted: the pages with a row to change, and
those of indexes where updates are not HOT.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from trueup.core.errors import first_line
from trueup.core.statements import Statement, column_statement
from trueup.migration.session import classify
from trueup.migration.tried_batch import QUARANTINED, Job, Tryout

PAGE = 8192
PAGE_HEADER = 24  # bytes of each page of the log
ALIGNMENT = 4  # bytes that a record of the log is rounded up by, on average
INDEX_FILL = 0.9  # of a page of an index that was built, or grew at its end
BOOKINGS = 3  # updates of a batch's row in the ledger: claimed, counted, finished
MOST_BYTES = 1024**3  # of a copy
MOST_TENANTS = 64  # whose batches are rehearsed one by one
OTHER_COLUMNS = "-- other columns"  # where statements name what only the catalog knows


@dataclass(frozen=True)
class Prediction:
    """What a run would cost, if a checkpoint comes just before it.

    hot_share:     HOT updates of all, 0 to 1
    page_images:   pages that the log gets whole because the run is the first to touch them
    wal_bytes:     with these, and with audit and progress
    minutes:       with the pauses, from low to high
    heap_bytes, index_bytes, audit_bytes: growth; disk_bytes: these and the WAL
    rows_copied:   what it was measured with
    """

    rows: int
    wal_bytes: int
    wal_bytes_per_row: int
    page_images: int
    hot_share: float
    minutes_low: float
    minutes_high: float
    heap_bytes: int
    index_bytes: int
    audit_bytes: int
    disk_bytes: int
    rows_copied: int


class _Range(NamedTuple):
    """The range that is copied, and what the plan has of the column in all."""

    range_start: list[str] | None
    range_end: list[str]
    stripes: int
    hashed: bool
    row_total: int
    batch_total: int


class _Explained(NamedTuple):
    """What a statement did: bytes and records of the log, page images among them, its time."""

    wal_bytes: float
    wal_records: int
    page_images: int
    milliseconds: float


@dataclass(frozen=True)
class _Copied:
    """The copy before it is changed; tenants: of the rows to change."""

    rows: int
    planned: int
    pages: int
    tenants: list[str | None]


@dataclass(frozen=True)
class _Measured:
    """What the copy has shown. Bytes of the log are without page images."""

    rows: int
    hot: int
    wal_bytes: float
    milliseconds: list[float]
    heap_growth: int
    index_growth: int
    audit_bytes_per_row: float
    booking_bytes: float
    booking_milliseconds: float


def predict(job: Job, tried: Tryout | None) -> tuple[Prediction | None, str | None]:
    """What the run would cost, or why that cannot be said."""
    found = job.call(
        "rehearsal__range",
        run_id=job.run.run_id,
        table_name=job.column.table_name,
        column_name=job.column.column_name,
    ).fetchone()
    job.connected.rollback()
    if found is None:
        return None, "the plan has no batches any more"
    start, end, stripes, hashed, row_total, batch_total = found
    place = _Range(start, end, stripes, hashed, int(row_total), int(batch_total))
    if reason := _forbidden(job, place):
        return None, reason
    try:
        with _scratch(job) as name:
            copied = _copy(job, name, place)
            if not copied.planned:
                return None, "the rows to change have been changed meanwhile"
            measured = _measure(job, name, place, copied, tried)
    except psycopg.Error as error:
        if classify(error) == "lost":
            raise
        return None, f"the scratch copy could not be made or changed: {first_line(error)}"
    if not measured.rows:
        return None, "the server counts no updates: track_counts is off"
    return _prediction(job, place, copied, measured, tried), None


def _forbidden(job: Job, place: _Range) -> str | None:
    """Why there should be no copy."""
    query = "select has_schema_privilege(%s, 'create'), quote_ident(%s), quote_ident(%s)"
    row = job.connected.execute(query, [job.schema, job.schema, job.server.role]).fetchone()
    job.connected.rollback()
    if row is None or not row[0]:
        _, schema, role = row or (False, job.schema, job.server.role)
        return (
            f"role {role} may not make a table in the ledger's schema: "
            f"grant create on schema {schema} to {role}"
        )
    width = job.facts.bytes / max(job.facts.estimated_rows or job.column.rows, 1)
    size = width * _row_limit(job, place)
    if size > MOST_BYTES:
        return f"a copy of one range would take {size / 1024**3:.1f} GB"
    return None


@contextmanager
def _scratch(job: Job) -> Iterator[sql.Identifier]:
    """A table like the application's, there until the end of the block."""
    name = table_name(job)
    drop = sql.SQL("drop table if exists {}").format(name)
    _begin(job)
    job.connected.execute(drop)
    try:
        job.connected.execute(
            sql.SQL(
                "create table {} (like {} including generated including storage"
                " including compression including indexes)"
                " with (fillfactor = {}, autovacuum_enabled = false)"
            ).format(
                name,
                sql.Identifier(job.facts.schema, job.facts.table),
                sql.Literal(job.facts.fillfactor),
            )
        )
        for change in _like(job):
            job.connected.execute(change.format(name))
        job.connected.commit()
        yield name
    finally:
        with suppress(psycopg.OperationalError):  # a lost connection: the next rehearsal does it
            job.connected.rollback()
            job.connected.execute(drop)
            job.connected.commit()


def _like(job: Job) -> Iterator[sql.SQL]:
    """What `like` does not take along, and what costs log."""
    if job.facts.replica_identities == ("full",):
        yield sql.SQL("alter table {} replica identity full")
    if any(
        trigger.is_row and trigger.timing == "before" and "update" in trigger.events
        for trigger in job.facts.triggers
    ):
        # each row is locked before such a trigger is called, also where it is disabled
        yield sql.SQL(
            "create trigger locks_rows before update on {}"
            " for each row execute function suppress_redundant_updates_trigger()"
        )
        yield sql.SQL("alter table {} disable trigger locks_rows")


def _copy(job: Job, name: sql.Identifier, place: _Range) -> _Copied:
    """Fill the copy, as the rows lie on disk."""
    names = [column for column in job.facts.columns if column.generated is None]
    listed = ", ".join(f"application.{column.quoted}" for column in names)
    select = job.found[job.of_column("rehearsal_copy")]
    text = select.sql.replace(OTHER_COLUMNS, f", {listed}").rstrip(";\n ")
    columns = ", ".join(column.quoted for column in names)
    copy = Statement(
        "rehearsal_copy",
        select.parameters,
        f"insert into {name.as_string(None)} ({columns}) with copied_rows as ({text}) "
        f"select {columns} from copied_rows order by trueup_partition, trueup_place",
    )
    _begin(job)
    copy.run(
        job.connected,
        range_start=place.range_start,
        range_end=place.range_end,
        row_limit=_row_limit(job, place),
    )
    job.connected.execute(sql.SQL("analyze {}").format(name))
    job.connected.commit()
    row = job.call(
        job.of_column("rehearsal_pages"), tenants=job.tenants, **job.values
    ).fetchone() or (0, 0, 0, None)
    job.connected.rollback()
    rows, planned, pages, tenants = row
    return _Copied(rows, planned, pages, tenants or [])


def _measure(
    job: Job, name: sql.Identifier, place: _Range, copied: _Copied, tried: Tryout | None
) -> _Measured:
    """Change the copy stripe by stripe, or tenant by tenant, each in a transaction of its own."""
    scopes: Sequence[list[str | None] | None] = [job.tenants]
    if job.by_tenant:
        scopes = [[tenant] for tenant in copied.tenants[:MOST_TENANTS]]
    base = {**job.values, "stripes": place.stripes, "hashed": place.hashed}
    audit = _audit(job, {**base, "stripe": 0, "tenants": scopes[0]}, tried)
    before = _counters(job, name)
    update = _update(job, tried)
    rows = hot = 0
    wal = 0.0
    times = []
    for scope in scopes:
        for stripe in range(place.stripes):
            seen = _counters(job, name)
            explained = _explain(
                job,
                update,
                {**base, "stripe": stripe, "tenants": scope,
                 "other_columns": Jsonb(tried.new_values if tried else {})},
            )  # fmt: skip
            now = _counters(job, name)
            job.connected.commit()
            rows += now[0] - seen[0]
            hot += now[1] - seen[1]
            wal += _logged(explained)
            times.append(explained.milliseconds)
    after = _counters(job, name)
    job.connected.rollback()
    return _Measured(rows, hot, wal, times, after[2] - before[2], after[3] - before[3], *audit)


def _audit(job: Job, values: dict[str, Any], tried: Tryout | None) -> tuple[float, float, float]:
    """Bytes of the log per row audited, per booking of a batch, and milliseconds of both.

    Written to the ledger and rolled back.
    """
    if tried is None:
        return 0.0, 0.0, 0.0
    named = {
        **values,
        "run_id": job.run.run_id,
        "batch_id": tried.batch_id,
        "lease_token": uuid.uuid4(),
        "is_last": True,
        "error_message": None,
    }
    job.call("rehearsal__take", **named)
    finished = _explain(job, job.own["finish_piece"], named)
    audited = _explain(job, job.found[job.of_column("rehearsal_audit")], named)
    row = job.call("rehearsal__audited", **named).fetchone()
    job.connected.rollback()
    rows = int(row[0]) if row else 0
    return (
        _logged(audited) / rows if rows else 0.0,
        _logged(finished),
        audited.milliseconds + finished.milliseconds,
    )


def _update(job: Job, tried: Tryout | None) -> Statement:
    """The statement that changes the copy, with the columns that triggers set."""
    generated = {column.name for column in job.facts.columns if column.generated}
    quoted = {column.name: column.quoted for column in job.facts.columns}
    keys = {key for key, _ in job.facts.key}
    set_too = [
        f", {quoted[name]} = new_values.{quoted[name]}"
        for name in (tried.new_values if tried else {})
        if name in quoted and name not in generated | keys
    ]
    update = job.found[job.of_column("rehearsal_update")]
    return update._replace(sql=update.sql.replace(OTHER_COLUMNS, "".join(set_too)))


def _prediction(
    job: Job, place: _Range, copied: _Copied, measured: _Measured, tried: Tryout | None
) -> Prediction:
    rows = round(job.column.rows_planned * (_share(tried) if tried else 1))
    scale = rows / measured.rows
    hot_share = measured.hot / measured.rows
    changed = {job.column.column_name, *(tried.new_values if tried else {})}
    heap_images = copied.pages * scale if job.images else 0.0
    index_images = _index_images(job, rows * (1 - hot_share), changed) if job.images else 0.0
    audit_bytes = measured.audit_bytes_per_row * rows
    wal = (
        measured.wal_bytes * scale
        + heap_images * PAGE * job.facts.fillfactor / 100
        + index_images * PAGE * INDEX_FILL
        + audit_bytes
        + measured.booking_bytes * BOOKINGS * place.batch_total
    )
    low, high = _minutes(job, place, measured, tried)
    heap, index = round(measured.heap_growth * scale), round(measured.index_growth * scale)
    return Prediction(
        rows=rows,
        wal_bytes=round(wal),
        wal_bytes_per_row=round(wal / rows) if rows else 0,
        page_images=round(heap_images + index_images),
        hot_share=round(hot_share, 4),
        minutes_low=low,
        minutes_high=high,
        heap_bytes=heap,
        index_bytes=index,
        audit_bytes=round(audit_bytes),
        disk_bytes=heap + index + round(audit_bytes + wal),
        rows_copied=copied.rows,
    )


def _share(tried: Tryout) -> float:
    """Of the rows to change, those that are changed; a refused row is one, and says nothing."""
    refused = sum(each.consequence == QUARANTINED for each in tried.refusals)
    rows = tried.rows - refused
    return tried.rows_changed / rows if rows else 1.0


def _index_images(job: Job, rows: float, changed: set[str]) -> float:
    """Pages of indexes that rows which are not HOT are the first to touch.

    Entries go where the old ones are, over the whole index; or to one place, where the index leads
    with a column that gets the same value in many rows.
    """
    images = 0.0
    for index in job.facts.indexes:
        pages = index.bytes / PAGE
        if index.key_columns and index.key_columns[0] in changed:
            images += 1
        elif pages:
            images += pages * (1 - math.exp(-rows / pages))
    return images


def _minutes(
    job: Job, place: _Range, measured: _Measured, tried: Tryout | None
) -> tuple[float, float]:
    """From the usual stripe of the copy to the slowest, or to the batch that was tried out.

    Several workers share the work at best; at worst one waits for the other.
    """
    found = [each + measured.booking_milliseconds for each in measured.milliseconds]
    whole = tried.duration_ms if tried and tried.rows == tried.rows_planned else None
    low, high = statistics.median(found), max(found)
    if whole is not None:
        # by tenant, a batch reads far more than the copy has
        low, high = (whole, whole) if job.by_tenant else (min(low, whole), max(high, whole))
    pauses = job.sleep_ms * place.row_total / job.run.options["batch_size"]
    return (
        round((place.batch_total * low + pauses) / job.workers / 60_000, 4),
        round((place.batch_total * high + pauses) / 60_000, 4),
    )


def _explain(job: Job, statement: Statement, values: dict[str, Any]) -> _Explained:
    """Run a statement, and say what it did."""
    text = f"explain (analyze, wal, timing off, format json)\n{statement.sql}"
    named = {name: values[name] for name in statement.parameters}
    row = statement._replace(sql=text).run(job.connected, **named).fetchone()
    top = row[0][0] if row else {}
    node = top["Plan"]
    return _Explained(
        node["WAL Bytes"], node["WAL Records"], node["WAL FPI"],
        top["Planning Time"] + top["Execution Time"],
    )  # fmt: skip


def _logged(explained: _Explained) -> float:
    """Bytes in the log, without page images, with what records and pages add to them."""
    records = explained.wal_bytes - explained.page_images * PAGE
    return (max(records, 0) + explained.wal_records * ALIGNMENT) * PAGE / (PAGE - PAGE_HEADER)


def _counters(job: Job, name: sql.Identifier) -> tuple[int, int, int, int]:
    """Updates, HOT updates, bytes of the heap, bytes of the indexes."""
    row = job.call("rehearsal__counters", relation=name.as_string(None)).fetchone()
    return row or (0, 0, 0, 0)


def _row_limit(job: Job, place: _Range) -> int:
    """Rows of a range; by tenant a range may be the whole table."""
    return int(job.run.options["batch_size"]) * place.stripes


def _begin(job: Job) -> None:
    """Wait for no lock longer than a batch does."""
    job.connected.execute(
        "select set_config('lock_timeout', %s, true)", [f"{job.lock_timeout_ms}ms"]
    )


def table_name(job: Job) -> sql.Identifier:
    """The scratch table of a column, as the macro rehearsal_table names it."""
    name = column_statement("rehearsal", *job.place)
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:12]
    return sql.Identifier(job.schema, f"rehearsal_{digest}")

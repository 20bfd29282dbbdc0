"""`trueup plan`: what a run would change, decided and stored; no row of the application changes.

All that is counted is counted in one snapshot and written to the ledger in one transaction: a plan
is there whole or not at all.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import getpass
import subprocess
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.types.json import Jsonb

from trueup.core import config, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.core.statements import Statement, column_statement
from trueup.findings import FAILED, WARN, Finding, runner
from trueup.migration import tables
from trueup.migration.session import begin_scan

KIND = "migrate"
EXAMPLES = 5  # rows shown per column
MOST_SPELLINGS = 32_767  # per column: the audit numbers them in two bytes
EVERY_OTHER_COLUMN = "/* every other column of application */"  # in apply_batch_comparing

# (current column, columns done, columns in all)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Scope:
    """The scope of a run; an empty field means everything.

    tenants: ids as text, `none` for the rows of no tenant
    """

    table_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pace:
    """How fast: rows of a transaction, pause per so many rows, its target duration (ms).

    stripes:   batches that share a range, a power of two; 1 = contiguous; None = if it pays
    by_tenant: a batch is rows of one tenant
    workers:   how many work at the same time
    """

    batch_size: int
    sleep_ms: int
    target_ms: int
    stripes: int | None = None
    by_tenant: bool = False
    workers: int = 1


@dataclass(frozen=True)
class Plan:
    """A plan, for people.

    options: as the ledger has them; facts: tables__of_plan by column
    columns: documents of plan__column, with vocabulary and tenant_label, stripes (batches per
             range), why (the reason for their number), hashed, examples (rows that will change),
             and rows_refused (how many of rows_planned unique indexes and foreign keys refuse)
    batches_to_try: rows of rehearsal__batches
    """

    run_id: uuid.UUID
    plan_sha256: str
    options: dict[str, Any]
    columns: list[dict[str, Any]]
    findings: list[Finding]
    facts: dict[tuple[str, str], dict[str, Any]]
    batches_to_try: list[dict[str, Any]]

    @property
    def rows_planned(self) -> int:
        """Rows that the run will try to change."""
        return sum(column["rows_planned"] for column in self.columns)

    @property
    def rows_promised(self) -> int:
        """Those of them that no rule is known to refuse."""
        return sum(column["rows_planned"] - column["rows_refused"] for column in self.columns)

    @property
    def batches(self) -> int:
        """Batches of all columns."""
        return sum(column["batches"] for column in self.columns)


def defaults(settings: Settings) -> dict[str, int]:
    """The var `migration`: default options of plan and apply."""
    found = config.project_variables(settings).get("migration")
    needed = ("batch_size", "stripes", "sleep_ms", "target_ms", "workers", "max_quarantined",
              "lease_seconds", "lock_timeout_ms", "plan_valid_hours", "index_rows")  # fmt: skip
    if not isinstance(found, dict) or any(not isinstance(found.get(n), int) for n in needed):
        raise config.wrong_variable("migration", found, f"whole numbers for {', '.join(needed)}")
    return found


def named_pace(settings: Settings, name: str) -> tuple[int, int]:
    """Rows of a transaction, pause per so many rows (ms): conservative, balanced, aggressive."""
    known: dict[str, Any] = defaults(settings)
    found = known if name == "balanced" else (known.get("paces") or {}).get(name)
    numbers = ("batch_size", "sleep_ms")
    if not isinstance(found, dict) or any(not isinstance(found.get(n), int) for n in numbers):
        raise config.wrong_variable(
            f"migration.paces.{name}", found, "{batch_size: rows, sleep_ms: milliseconds}"
        )
    return found["batch_size"], found["sleep_ms"]


def entries(settings: Settings, scope: Scope) -> list[dict[str, Any]]:
    """The managed columns in scope; TrueupError for a table or column that is not managed."""
    managed = config.managed_columns(settings)
    for what, wanted, known in (
        ("--table", scope.table_names, [entry["table"] for entry in managed]),
        ("--column", scope.column_names, [entry["column"] for entry in managed]),
    ):
        for name in wanted:
            if name not in known:
                raise TrueupError(
                    f"{what} {name} is not managed; allowed: {', '.join(dict.fromkeys(known))}",
                    "dbt_project.yml lists the managed columns.",
                )
    found = [
        entry
        for entry in managed
        if (not scope.table_names or entry["table"] in scope.table_names)
        and (not scope.column_names or entry["column"] in scope.column_names)
    ]
    if not found:
        raise TrueupError(
            f"no managed column is named {', '.join(scope.column_names)} in "
            f"{', '.join(scope.table_names)}"
        )
    for entry in found:
        if scope.tenants and not entry.get("tenant"):
            raise no_tenant(entry, "--tenant cannot narrow it")
    return found


def no_tenant(entry: Mapping[str, Any], what: str) -> TrueupError:
    """The error for a column that has no tenants."""
    return TrueupError(
        f"{entry['table']}.{entry['column']} has no tenant column, so {what}",
        "Select the tables that have one with --table.",
    )


def make(
    settings: Settings,
    connected: Connection,
    scope: Scope,
    pace: Pace,
    progress: Progress = lambda what, done, total: None,
    is_kept: bool = True,
) -> Plan:
    """Count, decide and store a plan. The connection must not be in autocommit mode.

    is_kept: False for a dry run: the transaction is rolled back, and nothing is stored

    Raises TrueupError if the ledger is missing or a table cannot be migrated in place.
    """
    managed = entries(settings, scope)
    for entry in managed:
        if pace.by_tenant and not entry.get("tenant"):
            raise no_tenant(entry, "its batches cannot be cut --by tenant")
    schema = ledger.schema(settings)
    ledger.check(connected, schema, settings)
    found = statements.statements(settings)
    tenants = [None if tenant == runs.NO_TENANT else tenant for tenant in scope.tenants]
    wanted = {"table_names": [entry["table"] for entry in managed], "tenants": tenants or None,
              "column_names": [entry["column"] for entry in managed]}  # fmt: skip
    findings = examine(settings, connected, found, managed, wanted)
    facts = {(entry["table"], entry["column"]): tables.facts(settings, connected, found, entry)
             for entry in managed}  # fmt: skip
    connected.rollback()
    connected.isolation_level = IsolationLevel.REPEATABLE_READ
    found["run__begin_reading"].run(connected)
    versions = _versions(
        connected, found["run__vocabulary_versions"], {entry["vocabulary"] for entry in managed}
    )
    options: dict[str, Any] = {
        "tables": list(scope.table_names),
        "columns": list(scope.column_names),
        "tenants": tenants or None,
        "batch_size": pace.batch_size,
        "by_tenant": pace.by_tenant,
        "other_columns": [fact["other_columns"] for fact in facts.values()],
    }
    record = kind(connected, found, KIND)
    own = _own_statements(found, record, managed, facts)
    run_id = store_run(settings, connected, found, KIND, record, own, options, versions)
    columns = []
    scanned = {"run_id": run_id, "tenants": options["tenants"]}
    glances = {}
    for number, place in enumerate(facts):
        progress(".".join(place), number, 2 * len(managed))
        glances[place] = _glance(connected, found, place, scanned)
    # verification compares with the counts of all columns, unless nothing is changed at all
    counts = any(glance["is_dirty"] for glance in glances.values()) or tenants
    for number, entry in enumerate(managed):
        place = (entry["table"], entry["column"])
        progress(".".join(place), len(managed) + number, 2 * len(managed))
        stripes, why = _stripes(settings, pace, facts[place])
        bound = found[column_statement("plan_bound", *place)]
        range_end = next((row[0] for row in bound.run(connected)), None)
        values = {**scanned, "range_end": range_end, "table_name": place[0],
                  "column_name": place[1]}  # fmt: skip
        if counts:
            _rows(connected, found, place, "plan_baselines", values)
        column = _column(connected, found, entry, values, pace, stripes, why, glances[place])
        columns.append(column)
        more: list[Finding] = []
        if column["rows_planned"]:
            more = _examine_planned(settings, connected, found, column, scanned)
        refused = sum(each.rows or 0 for each in more if each.status == WARN)
        column["rows_refused"] = min(refused, column["rows_planned"])  # one may break two rules
        findings += more
        found["run__store_control"].run_with(connected, {**values, **vars(pace)})
    # a tenant without a counted row is probably misspelt
    for (unknown,) in found["run__unknown_tenants"].run(connected, run_id=run_id, tenants=tenants):
        raise TrueupError(
            f"--tenant {unknown}: the tables in scope have no such row",
            "Write tenants as in their column; none means the rows of no tenant.",
        )
    digest = seal(connected, found, run_id, findings)
    supersede(settings, connected, found, run_id, wanted)
    to_try = records.rows(connected, found["rehearsal__batches"], run_id=run_id)
    if is_kept:
        connected.commit()
    else:
        connected.rollback()
    connected.isolation_level = None
    return Plan(run_id, digest, options, columns, findings, facts, to_try)


def examine(
    settings: Settings,
    connected: Connection,
    named: Mapping[str, Statement],
    managed: Iterable[Mapping[str, Any]],
    wanted: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """What is found about the server and the columns of a run; TrueupError if it forbids the run.

    named:  the statements of the project, or those of the run
    wanted: of a new plan, the rows it is about: also what other runs of these are found
    """
    found = list(tables.look(settings, connected, named, managed, writes=True))
    if wanted:
        unfinished = named["tables__unfinished_runs"]
        step = runner.Step("earlier runs", "table", unfinished, (), wanted, speaks=False)
        found += runner.read(connected, [step])
    if failed := [each for each in found if each.status in FAILED]:
        raise TrueupError(
            "\n".join(f"{each.subject or each.name}: {each.message}" for each in failed),
            "\n".join(each.remedy for each in failed if each.remedy) or None,
        )
    return found


def check_fresh(settings: Settings, connected: Connection, run: runs.Run) -> None:
    """TrueupError if the plan is stale, or if its tables or columns no longer exist.

    Also if the stored decisions were edited.
    """
    own = runs.statements(run)
    if own["run__plan_digest"].run(connected, run_id=run.run_id).fetchall() != [(run.plan_sha256,)]:
        raise TrueupError(
            f"the decisions of run {run.short_id} differ from its plan",
            "The ledger was edited. Cancel this run with `trueup cancel`, then make a new plan.",
        )
    hours = defaults(settings)["plan_valid_hours"]
    old = datetime.now(timezone.utc) - run.planned_at > timedelta(hours=hours)
    reason = None
    if run.status in runs.PLANNED and old:
        reason = f"it is older than {hours} hours"
    elif run.status in runs.PLANNED and run.sources_sha256 != _compiled_digest(
        statements.statements(settings), own
    ):
        reason = "its statements would be compiled otherwise now"
    # a kind of run that looks no values up has none
    for name in [] if reason else runs.named(own, run.record, "versions"):
        vocabularies = {each.split(" ")[0] for each in run.vocabulary_version.split(", ")}
        versions = _versions(connected, own[name], vocabularies)
        if versions != run.vocabulary_version:
            reason = f"the vocabulary has changed since: {run.vocabulary_version} → {versions}"
    if reason:
        raise stale(run, reason)


def stale(run: runs.Run, reason: str) -> TrueupError:
    """The error for a plan that cannot be carried out as it is."""
    return TrueupError(
        f"the plan of run {run.short_id} is stale: {reason}",
        f"`trueup cancel {run.short_id}` closes it, `trueup plan` makes a new one.",
    )


def _rows(
    connected: Connection,
    found: Mapping[str, Statement],
    place: tuple[str, str],
    purpose: str,
    values: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The rows of a column's own statement; values that it does not take are ignored."""
    return records.of(found[column_statement(purpose, *place)].run_with(connected, values))


def _glance(
    connected: Connection,
    found: Mapping[str, Statement],
    place: tuple[str, str],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Count a column and decide about its values; returns row_total, and is_dirty."""
    (counted,) = _rows(connected, found, place, "plan_glance", values)
    try:
        decided = _rows(connected, found, place, "plan_values", {**values, **counted})
    except psycopg.errors.NumericValueOutOfRange:
        raise TrueupError(
            f"{'.'.join(place)} has more than {MOST_SPELLINGS:,} different spellings to change",
            "Narrow the plan with --tenant, and run it tenant by tenant.",
        ) from None
    return {**counted, "is_dirty": any(row["map_id"] for row in decided)}


def _column(
    connected: Connection,
    found: Mapping[str, Statement],
    entry: Mapping[str, Any],
    values: Mapping[str, Any],
    pace: Pace,
    stripes: int,
    why: str,
    glance: Mapping[str, Any],
) -> dict[str, Any]:
    """Cut one column into batches. See Plan.columns.

    values: run_id, tenants, range_end, table_name, column_name
    """
    place = (entry["table"], entry["column"])

    def run(purpose: str, **more: Any) -> list[dict[str, Any]]:
        return _rows(connected, found, place, purpose, {**values, **more})

    hashed = False
    examples: list[dict[str, Any]] = []
    if glance["is_dirty"]:
        if column_statement("plan_spread", *place) not in found:
            hashed = stripes > 1  # no whole number, whose low bits could choose the stripe
        elif stripes > 1:
            (spread,) = run("plan_spread", stripes=stripes, hashed=False,
                            batch_rows=pace.batch_size)  # fmt: skip
            hashed = spread["is_skewed"]
            why += "; keys come in steps, so they are hashed" if hashed else ""
        run("plan_batches", stripes=stripes, hashed=hashed, batch_rows=pace.batch_size,
            by_tenant=pace.by_tenant)  # fmt: skip
        examples = [row["example"] for row in run("plan_examples", examples=EXAMPLES)]
    ((planned,),) = found["plan__column"].run_with(connected, values)
    return {
        **planned, "rows": glance["row_total"], "vocabulary": entry["vocabulary"],
        "tenant_label": config.tenant_label([entry]), "stripes": stripes, "hashed": hashed,
        "why": why, "examples": examples,
    }  # fmt: skip


def _examine_planned(
    settings: Settings,
    connected: Connection,
    found: Mapping[str, Statement],
    column: Mapping[str, Any],
    scanned: Mapping[str, Any],
) -> list[Finding]:
    """How to create an index of the rows that need work, if they are few; refused rows (warn)."""
    limits = defaults(settings)
    share = limits.get("index_share")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise config.wrong_variable(
            "migration.index_share", share, "a share of the rows, above 0 and up to 1"
        )
    place = (column["table_name"], column["column_name"])
    values = {**scanned, "row_total": column["rows"], "pending_total": column["rows_pending"],
              "least_rows": limits["index_rows"], "most_share": share}  # fmt: skip
    asked = [found[column_statement("proposed_index", *place)]]
    for (text,) in found[column_statement("plan_refusals", *place)].run(connected):
        asked.append(Statement("refusals", ("run_id", "tenants"), text))
    what = f"planned rows of {'.'.join(place)}"
    return runner.read(
        connected, [runner.Step(what, "table", each, (), values, speaks=False) for each in asked]
    )


def _stripes(settings: Settings, pace: Pace, fact: Mapping[str, Any]) -> tuple[int, str]:
    """How many batches share a range, and why."""
    if pace.by_tenant:  # whatever was asked for: a list by tenant knows no stripes
        return 1, "by tenant: rows of one tenant lie apart"
    if pace.stripes is not None:
        return pace.stripes, "as requested"
    return defaults(settings)["stripes"] if fact["stripes_pay"] else 1, fact["stripes_why"]


def kind(connected: Connection, found: Mapping[str, Statement], name: str) -> dict[str, Any]:
    """The record of a kind of run; found: the statements of the project."""
    ((record,),) = found[f"run_kind__{name}"].run(connected).fetchall()
    return dict(record)


def own_statements(
    found: Mapping[str, Statement],
    record: Mapping[str, Any],
    places: Iterable[tuple[str, str]],
) -> dict[str, Statement]:
    """The statements that a plan stores: those of its kind, and no others.

    Raises TrueupError if the project lacks one: a column is no longer managed.
    """
    own: dict[str, Statement] = {}
    for place in places:
        for purpose in record["statements"]:
            for name in runs.named(found, record, purpose, place):
                matching = fnmatch.filter(found, name)
                if not matching:
                    raise no_statement(name, place)
                own |= {each: found[each] for each in matching}
    return own


def no_statement(name: str, place: tuple[str, str]) -> TrueupError:
    """The error for a column without a statement that its run needs."""
    return TrueupError(
        f"{'.'.join(place)} is no longer managed, so it cannot be written (no statement {name})",
        "Add it to managed_columns of dbt_project.yml again, or leave it out with"
        " --table and --column.",
    )


def _own_statements(
    found: Mapping[str, Statement],
    record: Mapping[str, Any],
    managed: Iterable[Mapping[str, Any]],
    facts: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[str, Statement]:
    """The statements that apply will need; those that compare rows with the columns' names."""
    places = [(entry["table"], entry["column"]) for entry in managed]
    own = own_statements(found, record, places)
    for place in places:
        listed = facts[place]["compared_columns"] or ""
        for name in runs.named(found, record, "compare", place):
            own[name] = own[name]._replace(sql=own[name].sql.replace(EVERY_OTHER_COLUMN, listed))
    return own


def _compiled_digest(found: Mapping[str, Statement], own: Iterable[str]) -> str:
    """SHA-256 of these statements as the project compiles them, whatever else it compiles."""
    return runs.statements_digest(runs.stored({name: found[name] for name in own if name in found}))


def _versions(connected: Connection, statement: Statement, vocabularies: Collection[str]) -> str:
    """The versions the models were built with: "stage 3f…"."""
    rows = statement.run(connected, vocabularies=sorted(vocabularies)).fetchall()
    if len(rows) != len(vocabularies):
        missing = set(vocabularies) - {name for name, _ in rows}
        raise TrueupError(
            f"the models have no vocabulary {', '.join(sorted(missing))}", "Run `dbt build`."
        )
    return ", ".join(f"{name} {version[:12]}" for name, version in rows)


def store_run(
    settings: Settings,
    connected: Connection,
    found: Mapping[str, Statement],
    kind: str,
    record: Mapping[str, Any],
    own: Mapping[str, Statement],
    options: Mapping[str, Any],
    versions: str = "",
    reverts: uuid.UUID | None = None,
) -> uuid.UUID:
    """Store a run that is not started; `seal` completes it.

    found:   the statements of the project; own: those of the run
    reverts: the run it rolls back
    """
    run_id = uuid.uuid4()
    stored = runs.stored(own)
    found["run__store"].run(
        connected,
        run_id=run_id,
        kind=kind,
        record=Jsonb(record),
        options=Jsonb(options),
        statements=Jsonb(stored),
        vocabulary_version=versions,
        sources_sha256=_compiled_digest(found, own),
        sql_sha256=runs.statements_digest(stored),
        git_commit=_git_commit(settings.project),
        operator=f"{getpass.getuser()} as {connected.info.user}",
        environment=settings.environment,
        reverts_run_id=reverts,
    )
    return run_id


def seal(
    connected: Connection,
    found: Mapping[str, Statement],
    run_id: uuid.UUID,
    findings: Iterable[Finding] = (),
) -> str:
    """Complete a stored run: its findings, and the SHA-256 of its decisions."""
    listed = Jsonb([dataclasses.asdict(each) for each in findings])
    return str(found["run__seal"].run(connected, run_id=run_id, findings=listed).fetchall()[0][0])


def supersede(
    settings: Settings,
    connected: Connection,
    found: Mapping[str, Statement],
    run_id: uuid.UUID,
    wanted: Mapping[str, Any],
) -> None:
    """Close the plans whose place a new plan takes. wanted: the rows that it is about."""
    for rival, notes in found["run__superseded"].run(connected, run_id=run_id, **wanted).fetchall():
        statuses = (*runs.PLANNED, *runs.UNFINISHED)
        old = runs.find(connected, ledger.schema(settings), rival, statuses)
        close(settings, connected, old, "cancelled", notes=notes)


def close(
    settings: Settings,
    connected: Connection,
    run: runs.Run,
    status: str,
    statuses: Collection[str] = (*runs.PLANNED, *runs.UNFINISHED),
    notes: str | None = None,
) -> None:
    """Pause, cancel or complete a run without a live lease; revokes the token of a hung runner.

    Raises TrueupError if its status has changed, or if it was edited (it can still be cancelled).
    """
    runs.lock(connected, ledger.schema(settings), run, statuses)
    try:
        own = runs.statements(run)
    except TrueupError:
        if status != "cancelled":
            raise
        own = statements.statements(settings)
    one: dict[str, Any] = {"run_id": run.run_id}
    if status == "cancelled":
        own["run__close_batches"].run(connected, **one)
    own["run__release"].run(connected, **one, lease_token=None, status=status)
    finished = status in runs.FINISHED
    own["run__set_status"].run(connected, **one, lease_token=None, status=status, finished=finished,
                              statuses=list(statuses), notes=notes)  # fmt: skip
    if finished:
        begin_scan(own, connected)
        for name in runs.named(own, run.record, "digest"):
            own[name].run(connected, **one)


def _git_commit(project: Path) -> str | None:
    """The commit of the checkout, with a + where files differ from it; None outside of git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or None

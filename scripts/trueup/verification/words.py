"""The words of a verification: a sentence per check, and what to do if it is not met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql

from trueup.core import runs
from trueup.core.runs import ROLLBACK
from trueup.show.terminal import counted
from trueup.verification.checks import (
    ERROR,
    FAIL,
    GOOD,
    INFO,
    PASS,
    READ_BY_PEOPLE,
    UNMET,
    Check,
    Verification,
)

# why a value is there, in canonical_values
SINCE = "written since the plan"
MISSED = "not changed"
REPORT = "verification.html"


def message(check: Check, columns: Sequence[Mapping[str, Any]], of_all: bool) -> str:
    """One sentence: with its numbers if the check is met, else with the first fault.

    columns: of the run, as the document has them
    of_all:  all tenants were read, so the counts of the columns cover the whole check
    """
    if check.status in GOOD:
        if check.id in READ_BY_PEOPLE and check.offenders:
            return _to_read(check, columns, of_all)
        if check.status == PASS:
            return _met(check, columns, of_all) + _reservations(check)
        return check.offenders[0]["message"] if check.offenders else "Nothing to check"
    found = [each for each in check.offenders if each["status"] != INFO]
    if not found:
        return f"{check.kind.unmet}: {'; '.join(check.actual)}"
    first = f"{check.kind.unmet}: {found[0]['message']}"
    if check.status == ERROR:
        first = f"Could not be read: {found[0]['message']}"
    hidden = faults(check.offenders, check.offender_count) - 1
    return f"{first}; and {hidden:,} more" if hidden > 0 else first


def faults(offenders: Sequence[Mapping[str, Any]], offender_count: int) -> int:
    """How many offenders are more than information; unread ones count as such."""
    known: int = sum(each["status"] == INFO for each in offenders)
    return offender_count - known


def recommendations(found: Verification) -> list[dict[str, Any]]:
    """Advice and a command for every check that is not met."""
    listed = []
    for check in found.checks:
        if check.status in UNMET:
            text, commands = _advice(check, found)
            listed.append({"check": check.id, "text": text, "commands": commands})
    return listed


def _reservations(check: Check) -> str:
    """The part of its scope that a passed check could not read."""
    notes = [each["message"] for each in check.offenders if each["status"] == INFO]
    more = f"; and {len(notes) - 1:,} more" if len(notes) > 1 else ""
    return f"; but {notes[0]}{more}" if notes else ""


def _met(check: Check, columns: Sequence[Mapping[str, Any]], of_all: bool) -> str:
    number = counted(len(columns), "column")
    cells = sum(column["row_total"] or 0 for column in columns)
    read = f"{number}, {cells:,} cells" if of_all else f"{number} of the tenants asked for"
    tables = {column["table_name"]: column["row_total"] or 0 for column in columns}
    rows = f"{counted(len(tables), 'table')}, {counted(sum(tables.values()), 'row')}"
    batches = sum(column["batches"] for column in columns)
    changed = f"{sum(column['rows_updated'] for column in columns):,} rows changed"
    return {
        "batch_tracking": f"All batches completed successfully ({batches:,} total)",
        "canonical_values": f"Every value is canonical ({read})",
        "null_integrity": f"No value became NULL or blank ({read})",
        "row_counts": f"The number of rows is unchanged ({rows if of_all else read})",
        "audit_consistency": f"Audit, counters and rows agree ({changed if of_all else read})",
        "weight_sums": f"The weights of every document are valid ({'; '.join(check.actual)})",
        "other_columns_untouched": f"No other column changed ({number} changed by this run)",
        "models_agree": f"The marts show the values of the tables ({number})",
    }.get(check.id, "; ".join(check.actual))


def _to_read(check: Check, columns: Sequence[Mapping[str, Any]], of_all: bool) -> str:
    if check.id == "sample_inspection":
        number = len(check.offenders)
        changed = counted(sum(column["rows_updated"] for column in columns), "changed row")
        text = f"{number:,} of {changed}" if of_all else counted(number, "changed row")
        return f"{text} to read"
    tenants = {each.get("tenant") for each in check.offenders}
    places = {(each.get("table_name"), each.get("column_name")) for each in check.offenders}
    named = [counted(len(tenants - {None}), check.tenant_label)] if tenants - {None} else []
    named += [f"rows without a {check.tenant_label}"] if None in tenants else []
    text = f"{' and '.join(named)}, in {counted(len(places), 'column')}"
    hidden = check.offender_count - len(check.offenders)
    return f"{text}; {hidden:,} rows were not read" if hidden > 0 else text


def _advice(check: Check, found: Verification) -> tuple[str, list[str]]:
    """Words and commands; RUN of the commands is the run that was verified."""
    run, schema = found.run, found.schema
    if check.status == ERROR:
        return (
            "It could not be read, so it did not pass. Fix what the message names, then verify"
            " again.",
            ["trueup doctor", f"trueup verify {run.short_id}"],
        )
    again = f"trueup verify {run.short_id} --verbose --output {REPORT}"
    failed = check.status == FAIL
    if check.id == "batch_tracking":
        return (
            "Read the reasons and fix the cause. Failed batches are tried again; rows that the"
            " database refused need a new plan.",
            [
                f"select * from {_relation(schema, 'stage_migration_failures')}",
                *_going_on(run),
            ],
        )
    if check.id == "canonical_values":
        return _of_values(check, run)
    if check.id == "null_integrity":
        return (
            "trueup writes neither NULL nor blank, so another program did. The audit shows the"
            " earlier values, and whether the run changed these rows.",
            [_log_of(check, schema), again],
        )
    if check.id == "row_counts":
        return (
            "trueup neither inserts nor deletes, so another program did. If nothing else was"
            " running, rows were lost; the backup has them."
            if failed
            else "trueup neither inserts nor deletes, so another program does. If nothing else is"
            " running, verify with --quiesced.",
            [f"trueup verify {run.short_id} --quiesced --verbose"],
        )
    if check.id == "audit_consistency":
        return (
            (
                "Ledger and tables contradict each other: the ledger was edited, or a row was"
                " written without its updated_at. Change nothing, save both reports, and compare"
                " with the backup.",
                [again, f"trueup report {run.short_id} --output failed.json"],
            )
            if failed
            else (
                "Users edited rows after the run. No action needed. A rollback would skip these"
                " rows and list them first.",
                [f"trueup rollback {run.short_id} --dry-run"] if run.kind != ROLLBACK else [again],
            )
        )
    if check.id == "weight_sums":
        return (
            "The application owns the weights: correct them there, then run `dbt build`.",
            ["dbt build", "dbt test --select verification_weight_sums"],
        )
    if check.id == "other_columns_untouched":
        return (
            "Another column changed together with the managed one, most likely by a trigger. Look"
            " at the rows. If that is intended, list the column in `kept_by_triggers`.",
            [
                "select batch_id, others_changed from"
                f" {_relation(schema, 'stage_normalization_changes')} where run_id = '{run.run_id}'"
                " and others_changed <> '{}'",
                again,
            ],
        )
    if check.id == "models_agree":
        return (
            "The marts were built with another vocabulary, or they were edited. Run `dbt build` and"
            " verify again. If the difference stays, the model is wrong.",
            ["dbt build", f"trueup verify {run.short_id}"],
        )
    return "Read all rows that were found.", [again]


def _of_values(check: Check, run: runs.Run) -> tuple[str, list[str]]:
    reasons = {each.get("because") for each in check.offenders if each["status"] != INFO}
    texts, commands = [], []
    if check.status == FAIL:
        texts.append("Planned rows still have an old spelling. Continue the run.")
        commands += _going_on(run)
    if SINCE in reasons:
        texts.append("Old spellings were written after the plan was made. Make a new plan.")
        commands.append("trueup plan")
    if reasons - {SINCE, MISSED}:
        texts.append("Decide on the undecided values, run `dbt build`, then make a new plan.")
        commands = [
            *(command for command in commands if command != "trueup plan"),
            "trueup unmapped --limit 0",
            'trueup alias add "TEXT" VALUE --reason "WHY"',
            "dbt build",
            "trueup plan",
        ]
    return " ".join(texts), list(dict.fromkeys(commands))


def _going_on(run: runs.Run) -> list[str]:
    if run.status in runs.UNFINISHED:
        return [f"trueup resume {run.short_id}"]
    return [f"trueup report {run.short_id}"] if run.kind == ROLLBACK else ["trueup plan"]


def _log_of(check: Check, schema: str) -> str:
    """The query for the audit of the first named row."""
    log = _relation(schema, "stage_normalization_log")
    for each in check.offenders:
        if each.get("row_key") is not None and each.get("table_name") is not None:
            table, key = (sql.quote(str(each[name])) for name in ("table_name", "row_key"))
            return f"select * from {log} where table_name = {table} and row_id = {key}"
    return f"select * from {log} order by run_at desc limit 100"


def _relation(schema: str, name: str) -> str:
    return sql.Identifier(schema, name).as_string()

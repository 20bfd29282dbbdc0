"""Plan, rehearse and prepare runs that move the documents of user_app_state into tables.

What becomes of a document is decided by analyses/app_state/. The batches of a run are worked on
by the engine of trueup.migration, as those of any kind of run.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from trueup.core import files, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError, first_line
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.findings import FAILED, Finding, runner
from trueup.migration import engine, plan

KIND = "app_state"
PLACE = ("user_app_state", "state")
WANTED = {"table_names": [PLACE[0]], "column_names": [PLACE[1]], "tenants": None}
AREA = "app_state"
USERS_REHEARSED = 100  # if nothing is said

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Scope:
    """users: by id, all if empty. limit: users with rows to write; None = all of them."""

    users: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Plan:
    """A plan, for people. users: rows of app_state__plan; batches: their number.

    refused: by user, what the database said in the rehearsal; None without one
    """

    run_id: uuid.UUID
    users: list[dict[str, Any]]
    findings: list[Finding]
    batches: int
    refused: dict[str, str] | None = None

    def total(self, name: str) -> int:
        """The sum of a column over all users."""
        return sum(user[name] for user in self.users)


def named(settings: Settings) -> dict[str, Statement]:
    """The statements of the project; TrueupError if documents are not enabled."""
    found = statements.statements(settings)
    if "app_state__plan" not in found:
        raise TrueupError(
            "documents are not enabled in this project",
            "Set app_state.enabled to true in dbt_project.yml; docs/app_state.md explains it.",
        )
    return found


def init(settings: Settings, connected: Connection) -> list[str]:
    """Create what is missing of tables, policies and so on, all of it or nothing; their names."""
    made = records.rows(connected, named(settings)["app_state__objects"])
    for each in made:
        connected.execute(each["command"])
    connected.commit()
    return [each["name"] for each in made]


def check(connected: Connection, found: Mapping[str, Statement]) -> list[Finding]:
    """Findings about tables and rights; TrueupError if one of them forbids a run."""
    connected.execute("select")
    listed = runner.read(
        connected,
        [
            runner.Step("tables and rights", AREA, found["app_state__findings"], (), {}, False),
            runner.Step("runs", "table", found["tables__unfinished_runs"], (), WANTED, False),
        ],
    )
    if failed := [each for each in listed if each.status in FAILED]:
        raise TrueupError(
            "\n".join(f"{each.subject}: {each.message}" for each in failed),
            "\n".join(dict.fromkeys(each.remedy for each in failed if each.remedy)) or None,
        )
    return listed


def make(
    settings: Settings,
    connected: Connection,
    scope: Scope,
    batch_size: int,
    rehearse: bool | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Plan:
    """Decide what a run would write and store it as a plan, in the open transaction.

    batch_size: users of a batch. rehearse: also try it and roll back; None = up to 100 users.
    Raises TrueupError if a table or a right is missing, or if another run is at work.
    """
    found = named(settings)
    findings = check(connected, found)
    record = plan.kind(connected, found, KIND)
    own = plan.own_statements(found, record, [PLACE])
    options = {"tables": [PLACE[0]], "columns": [PLACE[1]], "tenants": None,
               "batch_size": batch_size, "by_tenant": False,
               "users": list(scope.users) or None, "limit": scope.limit}  # fmt: skip
    users = list(scope.users) or None
    for name in ("run__begin_reading", *runs.named(found, record, "begin")):
        found[name].run(connected)
    progress("documents", 0, 2)
    run_id = plan.store_run(settings, connected, found, KIND, record, own, options)
    listed = records.rows(connected, found["app_state__plan"], run_id=run_id, user_ids=users,
                          most_users=scope.limit, batch_users=batch_size)  # fmt: skip
    progress("what to know of them", 1, 2)
    step = runner.Step("notes", AREA, found["app_state__notes"], (), {"user_ids": users}, False)
    findings += runner.read(connected, [step])
    found["run__store_control"].run(
        connected, run_id=run_id, table_name=PLACE[0], column_name=PLACE[1],
        range_end=[listed[-1]["user_id"] if listed else ""], sleep_ms=0, workers=1,
        target_ms=plan.defaults(settings)["target_ms"],
    )  # fmt: skip
    plan.seal(connected, found, run_id, findings)
    plan.supersede(settings, connected, found, run_id, WANTED)
    refused = None
    if rehearse or (rehearse is None and len(listed) <= USERS_REHEARSED):
        together = record["rules"]["by_unit"]
        refused = _rehearsed(connected, own, run_id, listed, together, progress)
    return Plan(run_id, listed, findings, len({row["range_no"] for row in listed}), refused)


def _rehearsed(
    connected: Connection,
    own: Mapping[str, Statement],
    run_id: uuid.UUID,
    users: Sequence[Mapping[str, Any]],
    together: int,
    progress: Progress,
) -> dict[str, str]:
    """Write every document of the plan and roll it back; what the database refused, by user.

    together: users of one transaction; if one of them is refused, each gets its own
    TrueupError if it would write other rows than planned: a fault of trueup.
    """
    refused: dict[str, str] = {}
    written = done = 0
    hold = {"run_id": run_id, "lease_token": uuid.uuid4(), "lease_seconds": 60}

    def write(batch: int, units: list[str], first: int, last: int) -> int:
        with connected.transaction():
            answer = own["app_state__write"].run(
                connected, batch_id=batch, lease_token=hold["lease_token"], first_place=first,
                last_place=last, key_1=units,
            )  # fmt: skip
            connected.execute("set constraints all immediate")
        return sum(rows for (rows,) in answer)

    with connected.transaction(force_rollback=True):
        own["run__take_lease"].run(
            connected, **hold, lease_owner=engine.owner(), statuses=list(runs.PLANNED)
        )
        claimed = own["run__claim_ranges"].run(connected, **hold, held_batches=[],
                                               ranges=len(users) + 1)  # fmt: skip
        batches = [row[0] for row in claimed]
        for batch, _, units in own["app_state__keys"].run(connected, batch_ids=batches).fetchall():
            for first in range(1, len(units) + 1, together):
                progress("rehearsal", done, len(users))
                last = min(first + together - 1, len(units))
                try:
                    written += write(batch, units, first, last)
                except psycopg.Error:
                    for place in range(first, last + 1):
                        try:
                            written += write(batch, units, place, place)
                        except psycopg.Error as error:
                            ((user,),) = connected.execute("select (%s::text[])[1]",
                                                           [units[place - 1]])  # fmt: skip
                            refused[user] = first_line(error)
                done += last - first + 1
    planned = sum(row["rows_planned"] for row in users if row["user_id"] not in refused)
    if written != planned:
        raise TrueupError(
            f"the rehearsal wrote {written:,} rows and the plan promises {planned:,}",
            "A trigger may change what is written. `trueup app-state plan --no-rehearse` skips it.",
        )
    return refused


def export(connected: Connection, found: Mapping[str, Statement], path: Path) -> tuple[int, str]:
    """Write every row of user_app_state of one snapshot to a file; rows and their SHA-256.

    Only one row is in memory. Raises TrueupError if the file exists: an export is never replaced.
    """
    if path.exists():
        raise TrueupError(f"{path} exists; an export is never replaced", "Name another file.")
    digest, count = hashlib.sha256(), 0
    with files.whole(path, 0o600) as file, connected.transaction():
        taken = datetime.now(timezone.utc).isoformat(timespec="seconds")
        file.write(f'{{"exported_at": "{taken}", "rows": [')
        with connected.cursor(name="export") as cursor:
            for (text,) in cursor.execute(found["app_state__export"].sql):
                digest.update(f"{text}\n".encode())
                file.write(f"{',' if count else ''}\n{text}")
                count += 1
        file.write(f'\n], "count": {count}, "sha256": "{digest.hexdigest()}"}}\n')
    return count, digest.hexdigest()


def note_export(connected: Connection, run: runs.Run, about: Mapping[str, Any]) -> None:
    """Store with a run where its export is, or why there is none."""
    note = runs.statements(run)["run__note_options"]
    note.run(connected, run_id=run.run_id, options=Jsonb({"export": about}))


@contextmanager
def from_file(connected: Connection, found: Mapping[str, Statement], path: Path) -> Iterator[None]:
    """Within, user_app_state has the rows of a file; nothing stays. For the embedded server only.

    Raises TrueupError if the file is no list of {user_id, state}.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise TrueupError(f"{path}: is not UTF-8: {error.reason}") from None
    with connected.transaction(force_rollback=True):
        connected.execute(found["app_state__empty_source"].sql)
        try:
            with connected.transaction():
                loaded = found["app_state__load"].run(connected, document=text)
        except psycopg.DataError as error:
            raise TrueupError(
                f"{path}: {first_line(error)}",
                'Wanted is [{"user_id": ..., "state": {...}}, ...], or what `export` writes.',
            ) from None
        if not loaded.rowcount:
            raise TrueupError(f"{path}: has no document", None)
        for each in records.rows(connected, found["app_state__objects"]):
            connected.execute(each["command"])
        yield


def ids(
    connected: Connection, found: Mapping[str, Statement], users: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The old and the new id of every item of some users of a plan."""
    named_users = [user["user_id"] for user in users]
    return records.rows(connected, found["app_state__ids"], user_ids=named_users)


def dedupe(connected: Connection, found: Mapping[str, Statement]) -> tuple[list[str], int]:
    """Keep the newest row of each user, after a copy of the table; commands, and rows removed.

    The commands that were not run come last; they are for a person.
    """
    suffix = f"before_{datetime.now(timezone.utc):%Y%m%d_%H%M%S}"
    listed = records.rows(connected, found["app_state__dedupe"], suffix=suffix)
    removed = 0
    for each in listed:
        if each["is_run"]:
            removed = connected.execute(each["command"]).rowcount  # the last one deletes
    connected.commit()
    return [each["command"] for each in listed], removed


def as_json(made: Plan, listed: Sequence[Mapping[str, Any]]) -> str:
    """The plan for machines, with the ids of all items."""
    found = {"run_id": str(made.run_id), "batches": made.batches, "users": made.users,
             "rehearsal": made.refused, "ids": listed,
             "findings": [vars(each) for each in made.findings]}  # fmt: skip
    return records.as_json(found)

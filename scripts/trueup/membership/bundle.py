"""`trueup bundle verify`: does the database hold what a migration's bundle says?

The checks are the statements of analyses/membership/bundle_checks.sql; the bundle's files are bound
as they are, so that no program but PostgreSQL reads them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from trueup.core import records, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError, first_line
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.findings import document, runner

REPORT = "migration-report.json"
FILES = {"report": REPORT, "policies": "policy-bundle.json", "config": "migration-config.json"}
CHECKS = ("member_count", "event_count", "registration_count", "tier_distribution",
          "tier_coverage", "orphaned_registrations", "duplicate_id_mappings", "run_id_match",
          "field_values", "policies")  # fmt: skip
OFFLINE = {"duplicate_id_mappings": "offline_duplicates", "policies": "offline_policies"}
LISTED = 1000  # offenders of a check that are kept


@dataclass(frozen=True)
class Bundle:
    """A bundle's files as they were read. values: parameters of its statements, jsonb or None."""

    folder: Path
    sha256: str
    values: Mapping[str, Any]


def named(settings: Settings) -> dict[str, Statement]:
    """The statements of the project; TrueupError if a migration of members is not enabled."""
    found = statements.statements(settings)
    if "membership__problems" not in found:
        raise TrueupError(
            "migrations of members are not enabled in this project",
            "Set membership.enabled to true in dbt_project.yml; docs/membership.md explains it.",
        )
    return found


def read(folder: Path) -> Bundle:
    """The files of a bundle; TrueupError if a file is missing or is not JSON."""
    if not folder.is_dir():
        raise TrueupError(f"{folder}: there is no such folder", "Name the folder of a bundle.")
    digest = hashlib.sha256()
    values: dict[str, Any] = {}
    for name, file in FILES.items():
        path = folder / file
        if not path.is_file():
            if file == REPORT:
                raise TrueupError(f"{folder}: has no {REPORT}", "Name the folder of a bundle.")
            values[name] = None
            continue
        content = path.read_bytes()
        digest.update(b"%s %d\n" % (file.encode(), len(content)))
        digest.update(content)
        values[name] = as_jsonb(path, content, is_small=file != REPORT)
    return Bundle(folder, digest.hexdigest(), values)


def as_jsonb(path: Path, content: bytes, is_small: bool = True) -> Jsonb:
    """A file as a parameter, sent as it is; is_small: also looked at, so that an error names it."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        if is_small and not isinstance(json.loads(content), dict):
            raise ValueError("it is no object")
    except ValueError as error:
        raise TrueupError(f"{path}: is not JSON: {error}") from None
    return Jsonb(content, dumps=lambda value: value)


def check(connected: Connection, found: Mapping[str, Statement], given: Bundle) -> dict[str, Any]:
    """What the bundle says of itself; TrueupError with every reason why it cannot be verified."""
    try:
        problems = found["membership__problems"].run(connected, **given.values).fetchall()
    except psycopg.DataError as error:
        raise TrueupError(f"{given.folder / REPORT}: is not JSON: {first_line(error)}") from None
    if problems:
        raise TrueupError(
            "\n".join(f"{given.folder}: {message}" for (message,) in problems),
            "Only the bundle of a run that wrote and completed can be verified.",
        )
    (about,) = records.rows(connected, found["membership__about"], report=given.values["report"])
    return about


def counts(connected: Connection, found: Mapping[str, Statement]) -> dict[str, int]:
    """Members, events and registrations of the database; TrueupError if it has no such table."""
    try:
        (counted,) = records.rows(connected, found["membership__database_counts"])
    except psycopg.Error as error:
        raise TrueupError(
            f"the tables of members cannot be read: {first_line(error)}",
            "The var membership in dbt_project.yml names them; `trueup membership sample` makes"
            " some to try.",
        ) from None
    return counted


def verify(
    connected: Connection,
    found: Mapping[str, Statement],
    given: Bundle,
    offline: bool = False,
    is_strict: bool = False,
    progress: runner.Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Run the checks in one snapshot; the document of their findings.

    offline: judge the bundle alone
    Raises TrueupError if the bundle or the database cannot be used.
    """
    started, taken_at = time.monotonic(), datetime.now(timezone.utc)
    runner.begin(connected)
    for name in ("run__begin_images", "run__begin_reading"):
        found[name].run(connected)
    about = check(connected, found, given)
    counted = None if offline else counts(connected, found)
    names = OFFLINE if offline else dict(zip(CHECKS, CHECKS, strict=True))
    values = {**given.values, "most": LISTED}
    findings = runner.read(connected, [
        runner.Step(code.replace("_", " "), "membership", found[f"membership__{name}"], (code,),
                    values)
        for code, name in names.items()
    ], progress)  # fmt: skip
    plain = Jsonb([dataclasses.asdict(each) for each in findings])
    told = records.rows(connected, found["membership__escalations"], findings=plain)
    connected.rollback()
    where = f"{connected.info.dbname} on {connected.info.host}"
    return document.make(
        "bundle",
        f"bundle {given.folder}",
        findings,
        taken_at=f"{taken_at:%Y-%m-%dT%H:%M:%S}.{taken_at.microsecond // 1000:03d}Z",
        duration_ms=(time.monotonic() - started) * 1000,
        is_strict=is_strict,
        about={
            "Bundle": str(given.folder),
            "Run of the bundle": about["run_id"],
            "Completed": about["completed_at"],
            "Database": "was not asked (--offline)" if offline else where,
        },
        details={"about": {**about, "folder": str(given.folder)}, "database": counted,
                 "escalations": told},
        subject_sha256=given.sha256,
    )  # fmt: skip

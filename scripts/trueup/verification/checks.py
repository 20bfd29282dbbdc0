"""The records of a verification: the checks, the options, the findings."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from trueup.core import runs

PASS, INFO, WARN, FAIL, ERROR = "pass", "info", "warn", "fail", "error"
# The worst of several parts decides; a check of which one part passed is more than information.
ORDER = (INFO, PASS, WARN, FAIL, ERROR)
GOOD = (PASS, INFO)
UNMET = (WARN, FAIL, ERROR)
FAILED = (FAIL, ERROR)

# Of one check in one column, with --verbose: a statement gathers them in one value of jsonb, which
# PostgreSQL limits to 256 MB. The true count is stored with them.
MOST_OFFENDERS = 10_000
DIGITS = 4000  # of a whole number; Python refuses to read much longer ones
EXACT = 2**53  # from here on every float is a whole number


class Kind(NamedTuple):
    """A check: its name for people, and the problem if it is not met.

    A name may hold the word Tenant; the label of the tenant takes its place.
    """

    name: str
    unmet: str


CHECKS = {
    "batch_tracking": Kind("Batch Tracking", "Some batches are not done, or rows were refused"),
    "canonical_values": Kind("Canonical Values", "Values are not canonical"),
    "null_integrity": Kind("NULL Integrity", "Values became NULL or blank"),
    "row_counts": Kind("Row Counts", "The number of rows changed"),
    "audit_consistency": Kind("Audit Consistency", "Audit, counters and rows disagree"),
    "sample_inspection": Kind("Sample Inspection", "The sample could not be drawn"),
    "per_fund_breakdown": Kind("Per-Tenant Breakdown", "The tenants could not be counted"),
    "weight_sums": Kind("Weight Sums", "Weights are not valid"),
    "other_columns_untouched": Kind("Other Columns Untouched", "Other columns changed"),
    "models_agree": Kind("Models Agree", "Marts and tables disagree"),
}
READ_BY_PEOPLE = ("sample_inspection", "per_fund_breakdown")  # their offenders are no faults
# checks that each statement answers: for the run, and for each column
OF_RUN = {
    "verify__batch_tracking": ("batch_tracking",),
    "verify__digests": ("audit_consistency",),
    "verify__weights": ("weight_sums",),
}
OF_COLUMN = {
    "verify_values": ("canonical_values", "null_integrity", "row_counts", "per_fund_breakdown"),
    "verify_changes": ("audit_consistency", "null_integrity", "row_counts"),
    "verify_sample": ("sample_inspection",),
    "verify_others": ("other_columns_untouched",),
    "verify_models": ("models_agree",),
}
# those that always say something of the first of their checks
OUTSPOKEN = ("verify__batch_tracking", "verify__digests", "verify__weights", "verify_values")


@dataclass(frozen=True)
class Options:
    """Scope and options; None: the default of dbt_project.yml, or for the seed a random one.

    tables, tenants: empty means all; the tenant `none` means the rows of no tenant
    is_quiesced:     no other program writes, so missing rows are a failure
    reads_all:       all offenders, up to MOST_OFFENDERS, not only the first of them
    """

    tables: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    is_quiesced: bool = False
    sample_size: int | None = None
    seed: int | None = None
    epsilon: Decimal | None = None
    is_strict: bool = False
    reads_all: bool = False


@dataclass
class Check:
    """A check and its findings: the worst status of its parts, failures first.

    tenant_label:   the user's word for a tenant
    message:        one sentence, once all parts are read
    offenders:      objects with status and message, and more by the check
    offender_count: their number; offenders may be only the first of them
    """

    id: str
    tenant_label: str = "tenant"
    status: str = INFO
    message: str = ""
    expected: list[str] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)
    offenders: list[dict[str, Any]] = field(default_factory=list)
    offender_count: int = 0
    duration_ms: float = 0.0
    parts: int = 0

    @property
    def kind(self) -> Kind:
        """What it is."""
        return CHECKS[self.id]

    @property
    def name(self) -> str:
        """For people."""
        return self.kind.name.replace("Tenant", self.tenant_label.capitalize())

    def add(self, status: str, expected: str, actual: str, offenders: Any, count: int) -> None:
        """Add the result of one statement for one column, or for the run."""
        self.status = max(self.status, status, key=ORDER.index)
        self.expected.append(expected)
        self.actual.append(actual)
        self.offenders += offenders or []
        # of those that are as bad, the rows that can be looked at
        self.offenders.sort(
            key=lambda each: (-ORDER.index(each["status"]), each.get("row_key") is None)
        )
        self.offender_count += count
        self.parts += 1


@dataclass(frozen=True)
class Verification:
    """The checks of one run, in one snapshot.

    facts: further contents of the document: server, versions, planned rows
    """

    verification_id: uuid.UUID
    taken_at: datetime
    run: runs.Run
    schema: str
    options: Options
    checks: list[Check]
    duration_ms: float
    facts: dict[str, Any]

    def failed(self) -> bool:
        """Whether a check failed or could not be read; strict: or warned."""
        return self.count(*(UNMET if self.options.is_strict else FAILED)) > 0

    def count(self, *statuses: str) -> int:
        """Checks in one of these statuses."""
        return sum(check.status in statuses for check in self.checks)


def loads(text: str | bytes) -> Any:
    """jsonb as Python has it, so that it is written and read again as the same text.

    Numbers that Python cannot read stay text, as what is too large for a float.
    """
    return json.loads(text, parse_float=_float, parse_int=_int)


def _float(text: str) -> float | int | str:
    value = float(text)
    if not math.isfinite(value):
        return text
    return int(value) if abs(value) >= EXACT else value


def _int(text: str) -> int | str:
    return int(text) if len(text) <= DIGITS else text

"""Each fault is planted alone: exactly its check is not met any more, and it names the row.

Faults that need more than SQL are planted in test_verify_values, _audit, _models and _shapes.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from support.verification import LEDGER, Run

LOG = f"{LEDGER}.stage_normalization_log where table_name = 'deal_opportunities'"
BATCHES = f"{LEDGER}.stage_migration_batches"
UNTOUCHED = "id = (select min(id) from deal_opportunities where stage = 'seed' and fund_id = 2"
UNTOUCHED += " and row_version = 1)"
CHANGED = f"id = (select min(row_id::int) from {LOG})"
# the plan's snapshot as if it had been taken now
PAST = (
    f"update {LEDGER}.migration_runs set options = jsonb_set(options, '{{planned_xid}}',"
    " to_jsonb(cast(cast(cast(pg_current_xact_id() as text) as bigint) + 1 as text)))"
)
NO_TRIGGER = "alter table deal_opportunities disable trigger user"


class Fault(NamedTuple):
    """plant: statements, the last of which returns the key (or batch) that must be named."""

    plant: tuple[str, ...]
    differs: dict[str, str]
    words: tuple[str, ...] = ()  # patterns of the messages and figures; {key} is what was planted
    options: dict[str, Any] = {}  # noqa: RUF012


def edited(change: str, row: str = CHANGED) -> str:
    return f"update deal_opportunities set {change} where {row} returning id"


def at(moment: str, status: str) -> Fault:
    """A write that left updated_at so."""
    change = f"stage = 'Mezzanine', updated_at = {moment}"
    return Fault((NO_TRIGGER, edited(change)), {"audit_consistency": status}, (", row {key}: ",))


def emptied(value: str, shown: str) -> Fault:
    """A row that the run changed has lost its value; once, whatever reads it, it is named."""
    return Fault(
        (edited(f"stage = {value}"),), {"null_integrity": "fail", "audit_consistency": "warn"},
        (f"row {{key}}: .*, now {shown}$", "without a value"),
    )  # fmt: skip


QUIESCED = {"is_quiesced": True}
LOST = ("deal_opportunities.stage, fund 2: [0-9]+ rows, before [0-9]+$",)
DELETED = ("row {key}: .*, deleted since",)
FAULTS = {
    "a batch that failed": Fault(
        (f"update {BATCHES} set status = 'failed', error_message = 'why', rows_failed = 2"
         f" where batch_id = (select min(batch_id) from {BATCHES}) returning batch_id",),
        {"batch_tracking": "fail"},
        ("^9 batches completed, 0 rows quarantined", "^8 batches completed, 2 rows quarantined",
         "^deal_opportunities.stage, batch {key} is failed: why, 2 rows quarantined$")),
    "the same of a table that was not asked for": Fault(
        (f"update {BATCHES} set status = 'failed' where table_name = 'deal_opportunities'"
         " returning 0",), {}, options={"table_names": ["investments"]}),
    "a refused row that the batch has not counted": Fault(
        (f"insert into {LEDGER}.migration_quarantine (run_id, batch_id, table_name, column_name,"
         " row_key, sqlstate, error_message) select run_id, batch_id, table_name, column_name, '1',"
         f" '23514', 'no' from {BATCHES} limit 1 returning batch_id",),
        {"batch_tracking": "fail"}, ("^9 batches completed, 1 rows quarantined",)),
    "a spelling in another case that the plan saw": Fault(
        (PAST, edited("stage = 'Seed'", UNTOUCHED)), {"canonical_values": "fail"},
        ("'Seed': 1 row, not changed, for example row {key}$",
         "1 rows not changed, 0 written since the plan")),
    "a NULL": Fault((edited("stage = null", UNTOUCHED),), {"null_integrity": "fail"},
                    ("^deal_opportunities.stage, row {key}: NULL, written since the plan$",
                     "^deal_opportunities.stage, fund 2: ")),
    "a NULL in a changed row": emptied("null", "NULL"),
    "an empty text in a changed row": emptied("''", "blank"),
    "a blank in a changed row": emptied("e' \\u00a0'", "blank"),
    "a lost row": Fault((f"delete from deal_opportunities where {UNTOUCHED} returning id",),
                        {"row_counts": "warn"}, LOST),
    "a lost row although nobody else writes": Fault(
        (f"delete from deal_opportunities where {UNTOUCHED} returning id",),
        {"row_counts": "fail"}, LOST, QUIESCED),
    "a changed row that is deleted": Fault(
        (f"delete from deal_opportunities where {CHANGED} returning id",),
        {"row_counts": "warn"}, DELETED),
    "a changed row that is deleted although nobody else writes": Fault(
        (f"delete from deal_opportunities where {CHANGED} returning id",),
        {"row_counts": "fail"}, DELETED, QUIESCED),
    "a row that went to another tenant": Fault(
        (edited("fund_id = 3", UNTOUCHED),), {"row_counts": "warn"}, ("fund 2: ", "fund 3: ")),
    "a user's edit": Fault(
        (edited("stage = 'Mezzanine'"),), {"audit_consistency": "warn"},
        ("^deal_opportunities.stage, row {key}: '.+' → '.+', now 'Mezzanine', edited since$",
         "[0-9]+ changed rows, each as it was written last",
         "[0-9]+ rows as they were written last, 1 edited or at odds with the audit, 0 deleted")),
    "a user's edit of another column": Fault(
        (edited("source = 'edited', amount = 1", "true"),), {}),
    "an edit that kept the time": at("updated_at", "fail"),
    "an edit of before the run": at("updated_at - interval '2 minutes'", "fail"),
    "an edit that may have waited for our batch": at("updated_at - interval '30 seconds'", "warn"),
    "an edit of later": at("updated_at + interval '1 second'", "warn"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_exactly_its_check_is_not_met_and_names_it(deals: Run, what: str) -> None:
    fault = FAULTS[what]
    before = deals.checks()
    *prepare, plant = fault.plant
    for statement in prepare:
        deals.query(statement)
    key = deals.query(plant)[0][0]
    assert deals.differs(**fault.options) == fault.differs
    found = deals.checks(**fault.options)
    said = "\n".join(
        text
        for name in fault.differs
        for text in [*found[name].expected, *found[name].actual,
                     *(offender["message"] for offender in found[name].offenders)]
    )  # fmt: skip
    for words in fault.words:
        assert re.search(words.format(key=key), said, re.MULTILINE), said
    for name, status in fault.differs.items():
        first = found[name].offenders[0]
        assert first["status"] == status
        if any("{key}" in words for words in fault.words):
            assert str(key) in map(str, first.values())
    if not fault.differs and not fault.options:
        found = deals.checks()
        assert [each.offenders for each in found.values()] == [
            each.offenders for each in before.values()
        ]

"""A document of `trueup verify` made by hand: all checks, every status, as docs/schemas says."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
RUN_ID = "1a2b3c4d-0000-4000-8000-00000000abcd"
COMPANIES = {"table_name": "portfoliocompanies", "column_name": "stage"}
DEALS = {"table_name": "deal_opportunities", "column_name": "stage"}
STAGES = ["Seed", "Series A", "Series B", "Growth"]
NAMED, WEIGHTS = "portfoliocompanies.stage", "fund_strategy_models.stage_allocation, row 7"
LOST = "verify_models__portfoliocompanies__stage: relation marts.companies does not exist"
CHECKS = [  # id, name, status, milliseconds, message
    ("batch_tracking", "Batch Tracking", "pass", 3.2,
     "All batches completed successfully (15 total)"),
    ("canonical_values", "Canonical Values", "warn", 412.0,
     f"{NAMED}: 141 rows hold 3 values that the plan listed, 2 were written since"),
    ("null_integrity", "NULL Integrity", "pass", 268.5, "No value became NULL or blank"),
    ("row_counts", "Row Counts", "fail", 251.0, f"{NAMED}, tenant 4: 998 rows instead of 1,000"),
    ("audit_consistency", "Audit Consistency", "pass", 1893.0,
     "Audit, counters and rows agree (10,482 entries)"),
    ("sample_inspection", "Sample Inspection", "info", 44.1, "60 of 10,482 changed rows"),
    ("per_fund_breakdown", "Per-Fund Breakdown", "info", 198.7,
     "24 funds in 2 columns, 212 rows of no fund"),
    ("weight_sums", "Weight Sums", "fail", 12.6, f"{WEIGHTS}: 1.000002"),
    ("other_columns_untouched", "Other Columns Untouched", "info", 0.4,
     "not recorded: plan with --hash-others next time"),
    ("models_agree", "Models Agree", "error", 655.0, LOST),
]  # fmt: skip
NAMES = {check_id: name for check_id, name, *_ in CHECKS}


def offender(status: str, message: str, **more: Any) -> Row:
    return {"status": status, "message": message, **more}


def fund(place: Row, tenant: str | None, rows: int, changed: int, left: int, empty: int) -> Row:
    who = "no tenant" if tenant is None else f"tenant {tenant}"
    return offender(
        "info",
        f"{place['table_name']}.{place['column_name']}, {who}: {rows} rows",
        **place, tenant=tenant, rows=rows, distinct_values=4 + rows % 5, rows_changed=changed,
        rows_left=left, rows_empty=empty,
    )  # fmt: skip


def sampled(number: int, **more: Any) -> Row:
    """A row of the sample; it is as it was written unless `more` says otherwise."""
    place = COMPANIES if number % 2 else DEALS
    after = STAGES[number % len(STAGES)]
    spelling = [after.lower(), after.upper(), f"{after} round", f" {after.replace(' ', '-')} "]
    before = spelling[number % 3 if number % 4 else 3]
    row = {
        **place, "row_key": str(number), "tenant": None if number % 9 == 0 else str(1 + number % 6),
        "value_before": before, "value_after": after, "value_now": after, "is_there": True,
        "alias": before.strip().lower(), "match_type": "exact" if number % 3 else "case",
        "reason": "the fund's own word for it" if number % 4 == 0 else None,
        "added_by": "m.rossi", "added_on": "2026-10-02", **more,
    }  # fmt: skip
    cell = f"{place['table_name']}.{place['column_name']}"
    return offender("info", f"{cell}, row {number}: {before} → {after}", **row)


def offenders() -> dict[str, list[Row]]:
    """Of the checks that have any."""
    sample = [sampled(number) for number in range(1, 61)]
    sample[2] = sampled(3, value_now="Bridge")
    sample[5] = sampled(6, is_there=False, value_now=None)
    sample[8] = sampled(9, value_now=None)
    funds = [
        fund(place, str(number), 4000 // number, 900 // number, 60 // number, 90 // number)
        for place in (COMPANIES, DEALS)
        for number in range(1, 25)
    ]
    return {
        "canonical_values": [
            offender("warn", f"{NAMED}, Pre-Seed+: 80 rows, unknown in the plan",
                     **COMPANIES, value="Pre-Seed+", rows=80, because="unknown"),
            offender("warn", f"{NAMED}, late: 61 rows, ambiguous in the plan",
                     **COMPANIES, value="late", rows=61, because="ambiguous"),
            offender("warn", f"{NAMED}, series a: 2 rows written since the plan: turn on the guard",
                     **COMPANIES, value="series a", rows=2, because="written since the plan"),
        ],
        "row_counts": [
            offender("info", f"{NAMED}, tenant 5: 3 rows above the bound", tenant="5"),
            *(offender("fail", f"{NAMED}, row {1000 + number}: was changed by the run and is gone",
                       **COMPANIES, row_key=str(1000 + number)) for number in range(24)),
        ],
        "sample_inspection": sample,
        "per_fund_breakdown":
            [*funds, fund(COMPANIES, None, 212, 12, 4, 100), fund(DEALS, None, 0, 0, 0, 0)],
        "weight_sums": [
            offender("fail", f"{WEIGHTS}: sums to 1.000002", table_name="fund_strategy_models",
                     column_name="stage_allocation", row_key="7", tenant="2", weight_sum=1.000002,
                     issue="sum"),
        ],
        "models_agree": [offender("fail", LOST)],
    }  # fmt: skip


def checks() -> list[Row]:
    """All ten, in every status."""
    found = offenders()
    return [
        {
            "id": check_id, "name": name, "status": status, "message": message,
            "expected": [f"{NAMED}: as the plan said", "deal_opportunities.stage: so"],
            "actual": [f"{NAMED}: {message}", "deal_opportunities.stage: so"],
            "offenders": found.get(check_id, []),
            "offender_count": len(found.get(check_id, [])), "duration_ms": milliseconds,
        }
        for check_id, name, status, milliseconds, message in CHECKS
    ]  # fmt: skip


def recommendations() -> list[Row]:
    listed = (
        ("canonical_values", "Decide the values with `trueup alias add`, then plan again.",
         'trueup alias add "Pre-Seed+" --means "Pre-Seed"',
         "trueup plan --table portfoliocompanies"),
        ("row_counts", "trueup holds neither INSERT nor DELETE: ask who deletes rows.",
         f"select * from trueup_ledger.stage_normalization_log where run_id = '{RUN_ID}'"
         " and table_name = 'portfoliocompanies' and column_name = 'stage'"),
        ("weight_sums", "Correct the weights; `verify --epsilon` says what is near enough."),
        ("models_agree", "Build the models.", "dbt build --select tag:marts"),
    )  # fmt: skip
    return [{"check": name, "text": text, "commands": commands} for name, text, *commands in listed]


def column(place: Row, total: int, planned: int, updated: int, left: int, empty: int) -> Row:
    return {
        **place, "row_total": total, "null_total": empty, "blank_total": 3,
        "rows_planned": planned, "rows_updated": updated, "rows_failed": 0,
        "rows_left": left, "spellings": 60, "status": "completed", "batches": 15,
    }  # fmt: skip


def target(place: Row, value: str | None, because: str | None, spellings: int, rows: int) -> Row:
    return {
        **place, "gathered_value": value, "left_because": because, "spellings": spellings,
        "spellings_changed": 0 if because else spellings, "rows_planned": rows,
        "rows_changed": 0 if because else rows,
    }  # fmt: skip


def spelling(place: Row, before: str, after: str | None, because: str | None, rows: int) -> Row:
    return {
        **place, "value_before": before, "value_after": after,
        "match_type": because or "exact", "is_planned": because is None, "rows_planned": rows,
        "rows_changed": 0 if because else rows, "gathered_value": after, "left_because": because,
    }  # fmt: skip


def became(place: Row, rows: int, each: int) -> tuple[list[Row], list[Row]]:
    """Targets and values of a column: so many rows, and so many spellings of each stage."""
    targets, values = [], []
    for number, stage in enumerate(STAGES):
        left = rows // 2 ** (number + 1) if number < len(STAGES) - 1 else rows // 8
        targets.append(target(place, stage, None, each, left))
        for count in range(each):
            own = left if count == each - 1 else min(max(left // 2, 1), left)
            left -= own
            values.append(
                spelling(place, f"{stage.lower()} {'.' * count}v{count}", stage, None, own)
            )
    return targets, values


def document() -> Row:
    """A failed verification of a run over two columns."""
    targets, values = became(COMPANIES, 6000, 9)
    more_targets, more_values = became(DEALS, 4482, 4)
    stays = [("unknown", "Pre-Seed+", 80), ("ambiguous", "late", 61)]
    targets += [target(COMPANIES, None, because, 1, rows) for because, _, rows in stays]
    values += [spelling(COMPANIES, text, None, because, rows) for because, text, rows in stays]
    return {
        "timestamp": "2026-11-20T20:00:00.123456+00:00",
        "verification_id": "9f8e7d6c-0000-4000-8000-000000000001",
        "run_id": RUN_ID,
        "verdict": "failed",
        "summary": {"totalChecks": 10, "passed": 6, "failed": 3, "warnings": 1},
        "checks": checks(),
        "recommendations": recommendations(),
        "metadata": {
            "server": {
                "version": "18.6", "host": "db.example", "port": 5432, "database": "funds",
                "role": "trueup", "url": "postgresql://trueup@db.example:5432/funds",
                "is_embedded": False, "in_recovery": False,
            },
            "environment": "production", "tables": None, "tenants": None, "quiesced": True,
            "sample_size": 60, "seed": 42, "epsilon": 1e-6, "strict": False,
            "versions": {"trueup": "0.1.0", "python": "3.12.3", "psycopg": "3.3.0", "dbt": "1.11"},
            "vocabulary_version": "0123456789abcdef" * 4, "duration_ms": 3738.5,
        },
        "run": {
            "run_id": RUN_ID, "short_id": RUN_ID[:8], "kind": "migrate", "status": "completed",
            "operator": "m.rossi", "environment": "production",
            "planned_at": "2026-11-20T18:00:00+00:00", "started_at": "2026-11-20T18:30:00+00:00",
            "finished_at": "2026-11-20T18:41:00+00:00", "plan_sha256": "ab" * 32,
            "sql_sha256": "cd" * 32, "audit_digest": "ef" * 32, "git_commit": "8a4db1e" + "0" * 33,
        },
        "columns": [
            column(COMPANIES, 15_102, 6000, 6000, 141, 290), column(DEALS, 9400, 4484, 4482, 0, 0)
        ],
        "targets": [*targets, *more_targets],
        "values": [*values, *more_values],
    }  # fmt: skip

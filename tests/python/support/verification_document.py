"""A document of `trueup verify` made by hand: all checks, every status, as docs/schemas says."""

from __future__ import annotations

from typing import Any

RUN_ID = "1a2b3c4d-0000-4000-8000-00000000abcd"
NAMES = {
    "batch_tracking": "Batch Tracking",
    "canonical_values": "Canonical Values",
    "null_integrity": "NULL Integrity",
    "row_counts": "Row Counts",
    "audit_consistency": "Audit Consistency",
    "sample_inspection": "Sample Inspection",
    "per_fund_breakdown": "Per-Fund Breakdown",
    "weight_sums": "Weight Sums",
    "other_columns_untouched": "Other Columns Untouched",
    "models_agree": "Models Agree",
}
COMPANIES = {"table_name": "portfoliocompanies", "column_name": "stage"}
DEALS = {"table_name": "deal_opportunities", "column_name": "stage"}
STAGES = ["Seed", "Series A", "Series B", "Growth"]
TIMES = [3.2, 412.0, 268.5, 251.0, 1893.0, 44.1, 198.7, 12.6, 0.4, 655.0]

Row = dict[str, Any]


def offender(status: str, message: str, **more: Any) -> Row:
    return {"status": status, "message": message, **more}


def check(name: str, status: str, message: str, offenders: list[Row] | None = None) -> Row:
    """A check of the document; its time is that of its place."""
    found = offenders or []
    return {
        "id": name,
        "name": NAMES[name],
        "status": status,
        "message": message,
        "expected": ["portfoliocompanies.stage: as the plan said", "deal_opportunities.stage: so"],
        "actual": [f"portfoliocompanies.stage: {message}", "deal_opportunities.stage: so"],
        "offenders": found,
        "offender_count": len(found),
        "duration_ms": TIMES[list(NAMES).index(name)],
    }


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
    return offender(
        "info",
        f"{place['table_name']}.{place['column_name']}, row {number}: {before} → {after}",
        **{
            **place,
            "row_key": str(number),
            "tenant": None if number % 9 == 0 else str(1 + number % 6),
            "value_before": before,
            "value_after": after,
            "value_now": after,
            "is_there": True,
            "alias": before.strip().lower(),
            "match_type": "exact" if number % 3 else "case",
            "reason": "the fund's own word for it" if number % 4 == 0 else None,
            "added_by": "m.rossi",
            "added_on": "2026-10-02",
            **more,
        },
    )


def checks() -> list[Row]:
    """All ten, in every status."""
    named = "portfoliocompanies.stage"
    funds = [
        fund(place, str(number), 4000 // number, 900 // number, 60 // number, 90 // number)
        for place in (COMPANIES, DEALS)
        for number in range(1, 25)
    ]
    sample = [sampled(number) for number in range(1, 61)]
    sample[2] = sampled(3, value_now="Bridge")
    sample[5] = sampled(6, is_there=False, value_now=None)
    sample[8] = sampled(9, value_now=None)
    found = {
        "batch_tracking": check(
            "batch_tracking", "pass", "All batches completed successfully (15 total)"
        ),
        "canonical_values": check(
            "canonical_values",
            "warn",
            f"{named}: 141 rows hold 3 values that the plan listed, 2 were written since",
            [
                offender("warn", f"{named}, Pre-Seed+: 80 rows, unknown in the plan",
                         **COMPANIES, value="Pre-Seed+", rows=80, because="unknown"),
                offender("warn", f"{named}, late: 61 rows, ambiguous in the plan",
                         **COMPANIES, value="late", rows=61, because="ambiguous"),
                offender("warn", f"{named}, series a: 2 rows written since the plan: turn on the"
                         " guard", **COMPANIES, value="series a", rows=2,
                         because="written since the plan"),
            ],
        ),
        "null_integrity": check("null_integrity", "pass", "No value became NULL or blank"),
        "row_counts": check(
            "row_counts",
            "fail",
            f"{named}, tenant 4: 998 rows instead of 1,000",
            [
                offender("info", f"{named}, tenant 5: 3 rows above the bound", tenant="5"),
                *(
                    offender("fail", f"{named}, row {1000 + number}: was changed by the run and"
                             " is gone", **COMPANIES, row_key=str(1000 + number))
                    for number in range(24)
                ),
            ],
        ),
        "audit_consistency": check(
            "audit_consistency", "pass", "Audit, counters and rows agree (10,482 entries)"
        ),
        "sample_inspection": check(
            "sample_inspection", "info", "60 of 10,482 changed rows", sample
        ),
        "per_fund_breakdown": check(
            "per_fund_breakdown",
            "info",
            "24 funds in 2 columns, 212 rows of no fund",
            [*funds, fund(COMPANIES, None, 212, 12, 4, 100), fund(DEALS, None, 0, 0, 0, 0)],
        ),
        "weight_sums": check(
            "weight_sums",
            "fail",
            "fund_strategy_models.stage_allocation, row 7: 1.000002",
            [
                offender("fail", "fund_strategy_models.stage_allocation, row 7: sums to 1.000002",
                         table_name="fund_strategy_models", column_name="stage_allocation",
                         row_key="7", tenant="2", weight_sum=1.000002, issue="sum"),
            ],
        ),
        "other_columns_untouched": check(
            "other_columns_untouched", "info", "not recorded: plan with --hash-others next time"
        ),
        "models_agree": check(
            "models_agree",
            "error",
            "verify_models__portfoliocompanies__stage: relation marts.companies does not exist",
            [offender("fail", "verify_models__portfoliocompanies__stage: relation marts.companies"
                      " does not exist")],
        ),
    }  # fmt: skip
    return [found[name] for name in NAMES]


def recommendations() -> list[Row]:
    def advice(name: str, text: str, *commands: str) -> Row:
        return {"check": name, "text": text, "commands": list(commands)}

    return [
        advice(
            "canonical_values",
            "Decide the values with `trueup alias add`, then plan again.",
            'trueup alias add "Pre-Seed+" --means "Pre-Seed"',
            "trueup plan --table portfoliocompanies",
        ),
        advice(
            "row_counts",
            "trueup holds neither INSERT nor DELETE: ask who deletes rows.",
            "select * from trueup_ledger.stage_normalization_log where run_id ="
            f" '{RUN_ID}' and table_name = 'portfoliocompanies' and column_name = 'stage'",
        ),
        advice("weight_sums", "Correct the weights; `verify --epsilon` says what is near enough."),
        advice("models_agree", "Build the models.", "dbt build --select tag:marts"),
    ]


def columns() -> list[Row]:
    def column(place: Row, total: int, planned: int, updated: int, left: int, empty: int) -> Row:
        return {
            **place, "row_total": total, "null_total": empty, "blank_total": 3,
            "rows_planned": planned, "rows_updated": updated, "rows_failed": 0,
            "rows_left": left, "spellings": 60, "status": "completed", "batches": 15,
        }  # fmt: skip

    return [column(COMPANIES, 15_102, 6000, 6000, 141, 290), column(DEALS, 9400, 4484, 4482, 0, 0)]


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
        share = rows // 2 ** (number + 1) if number < len(STAGES) - 1 else rows // 8
        targets.append(target(place, stage, None, each, share))
        left = share
        for count in range(each):
            own = left if count == each - 1 else max(left // 2, 1)
            own = min(own, left)
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
            "environment": "production", "tables": None, "tenants": None, "tenant_label": "fund",
            "quiesced": True,
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
        "columns": columns(),
        "targets": [
            *targets,
            *(target(COMPANIES, None, because, 1, rows) for because, _, rows in stays),
            *more_targets,
        ],
        "values": [
            *values,
            *(spelling(COMPANIES, text, None, because, rows) for because, text, rows in stays),
            *more_values,
        ],
    }  # fmt: skip

"""What the macros write, letter by letter, and what they say of wrong input.

The expected texts are tests/python/golden/*.sql, for macros that write up to about 80 lines; longer
SQL, such as a check of `trueup verify`, is compiled, linted and run by other tests. After an
intended change write the texts anew with
`UPDATE_GOLDEN=1 .venv/bin/pytest tests/python/unit/test_macros.py` and review their diff.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from dbt.adapters.postgres import PostgresAdapter

from sqlfluff_library import CompilerError, this
from support import data
from support.rendering import PROJECT, call

GOLDEN = PROJECT / "tests/python/golden"
VARS: dict[str, Any] = {
    "vocabularies": {
        "stage": {
            "canonical_seed": "stages",
            "alias_seed": "stage_aliases",
            "accept_broader": True,
            "noise_words": ["round", "rounds", "funding", "stage", "phase", "extension", "runde"],
        },
        "tier": {"canonical_seed": "tiers", "alias_seed": "tier_aliases"},
    },
    "managed_columns": [
        {"table": "deals", "column": "stage", "key": {"id": "bigint"}, "tenant": "fund_id",
         "vocabulary": "stage", "updated_at": "changed_at", "mart": "fct_deals",
         "mart_key": "deal_id", "kept_by_triggers": ["version"], "guard": {None: "refuse"}},
        {"table": "deals", "column": "tier", "key": {"id": "bigint"}, "vocabulary": "tier"},
    ],
    "managed_documents": [],
    "sample": False,
    "sample_columns": [],
    "sample_documents": [],
}  # fmt: skip
COMPOSITE = {"Fund": "text", "id": "uuid"}
PLACE = ("first_place", "last_place", "key_1", "key_2", "key_map_ids", "is_partitioned",
         "range_start", "range_end", "tenants", "by_tenant", "fund_id")  # fmt: skip
NUMBERS = {name: f"${number}" for number, name in enumerate(PLACE, 1)}
COLUMNS = ["deal_id", "stage", "weight", "first_seen_at"]
CONTRACT: dict[str, Any] = {
    "run_id": {"constraints": [{"type": "not_null"}], "data_type": "uuid"},
    "batch_id": {
        "constraints": [
            {"type": "not_null"},
            {"type": "custom", "expression": "generated always as identity"},
        ],
        "data_type": "bigint",
    },
    "attempts": {
        "constraints": [{"type": "not_null"}],
        "data_type": "integer",
        "config": {"meta": {"default": 0}},
    },
    "row_keys": {"constraints": [], "data_type": "text[]", "config": {"meta": {}}},
}
CONTRACT = {name: {"name": name, **column} for name, column in CONTRACT.items()}


class Relation(str):
    """A relation is its name."""

    @property
    def identifier(self) -> str:
        return self

    def include(self, **parts: bool) -> Relation:
        return self


def render(macro: str, *arguments: Any, variables: dict[str, Any] = VARS, **context: Any) -> Any:
    def var(name: str, *default: Any) -> Any:
        return variables[name] if name in variables or not default else default[0]

    return call(macro, *arguments, var=var, **context)


class Config:
    """The config of a model with one column that is written once."""

    def __init__(self, complete_keys: Any) -> None:
        self.known = {
            "merge_exclude_columns": ["first_seen_at"],
            "meta": {"complete_keys": complete_keys},
        }

    def get(self, name: str, default: Any = None) -> Any:
        return self.known.get(name, default)


MERGED = ("mart", "computed", ["deal_id"], COLUMNS)
MERGED_BY_TWO = ("mart", "computed", ["fund_id", "deal_id"], ["fund_id", *COLUMNS])
STAGE = {"table": "deals", "column": "stage"}
# macro__variant → its arguments, or what renders it in another way
TEXTS: dict[str, tuple[Any, ...] | Callable[[], str]] = {
    "text_key": ("deals.stage",),
    "is_blank": ("deals.stage",),
    "fixed_parts": ("deals.text_key",),
    "without_noise": lambda: render(
        "without_noise", "deals.text_key", render("vocabularies")["stage"]
    ),
    "without_noise__no_words": lambda: render(
        "without_noise", "deals.text_key", render("vocabularies")["tier"]
    ),
    "resolved_columns": ("deals", "stage", "stage_values"),
    "tenant_groups": ("deals", "fund_id"),
    "tenant_groups__none": ("deals", None),
    "tenant_text": ("deals", "fund_id"),
    "tenant_text__none": ("deals", None),
    "read_in_place": (),
    "changed_rows": ("computed", this, "deal_id", COLUMNS),
    "changed_rows__with_gone_keys": lambda: render(
        "changed_rows", "computed", this, "deal_id", COLUMNS, config=Config("changed_rows")
    ),
    "row_key": ({"id": "bigint"}, "deals"),
    "row_key__two_columns": ({"fund": "text", "id": "uuid"}, "deals"),
    "csv_field": ("deals.stage",),
    "json_members": ("funds.allocation", "members"),
    "json_number": ("members.weight_value",),
    "text_digest": ("deals.note",),
    "binary_text": ("deals.stage",),
    "code_points": (["0410", "2028"],),
    "edit_distance": ("one.text_key", "other.text_key", 2),
    "create_extensions": (),
    "merge_changed": MERGED,
    "merge_changed__two_keys": MERGED_BY_TWO,
    "merge_changed__keys_only": ("mart", "computed", ["deal_id"], ["deal_id"]),
    "merge_changed__insert_only": (*MERGED, ["first_seen_at"]),
    "merge_changed__complete_keys_of_this_run": (*MERGED, [], "this_run"),
    "merge_changed__complete_keys_of_this_run_two_keys": (*MERGED_BY_TWO, [], "this_run"),
    "merge_changed__complete_keys_of_a_model":
        (*MERGED, [], {"model": "stg_app__deals", "key": "id"}),
    "merge_changed__complete_keys_of_changed_rows": (*MERGED, ["first_seen_at"], "changed_rows"),
    "ledger_shape": lambda: render("ledger_shape", model=SimpleNamespace(columns=CONTRACT)),
    "ledger_elements": lambda: ",\n".join(render(
        "ledger_elements", CONTRACT, [{"type": "primary_key", "columns": ["run_id", "batch_id"]}],
        adapter=PostgresAdapter,
    )),
    "ledger_indexes": lambda: ";\n".join(render(
        "ledger_indexes", Relation("batches"),
        [{"columns": ["run_id", "status"]}, {"columns": ["fund_id"]}, {"columns": ["run_id"]}],
        ["batches_fund_id_idx"],
    )),
    "quoted": lambda: "\n".join(
        render("quoted", name) for name in ("stage", "Stage", "order", 'My "x"', "2nd", "a$1")
    ),
    "literal": ("it's",),
    "app_schema": (),
    "application_table": ({"table": "My Deals"},),
    "statement_name": lambda: "\n".join(
        render("statement_name", "apply_batch", {"table": table, "column": column})
        for table, column in (("deals", "stage"), ("Order", "é"), ("a", "b__c"), ("a__b", "c"))
    ),
    "dirty_rows": ({**STAGE, "key": {"id": "bigint"}}, "application.stage = 'x'"),
    "is_younger": ("deals",),
    "requested": ("most",),
    "of_request": ("'deals'",),
    "of_request__tenant": ("names.table_name", "tenant", "names"),
    "of_requested_tenant": ("fund_id", "deals"),
    "of_requested_tenant__none": (None, "deals"),
    "is_readable_key": ({"id": "bigint"}, "deals.row_key"),
    "is_readable_key__two_columns": (COMPOSITE, "deals.row_key"),
    "weight_issue": ("owners", "0.01"),
    "check_weights__no_documents": (),
    "one_line": ("deals.stage",),
    "audited_rows": ("$2",),
    "of_rollback": (STAGE, "$1"),
    "in_scope": ("fund_id", "deals", "$1"),
    "in_scope__no_tenant": (None, "deals", "$1"),
    "parameter_numbers": (["batch_id", "stripe"],),
    "planned_row": ({"key": {"id": "bigint"}, "tenant": "fund_id", "column": "stage"}, NUMBERS),
    "planned_row__composite": ({"key": COMPOSITE, "tenant": None, "column": "stage"}, NUMBERS),
    "listed_rows": ({"key": {"id": "bigint"}}, NUMBERS),
    "listed_keys": (COMPOSITE, NUMBERS, True),
    "listed_unit": ("$3", "$4"),
    "value_map": ({"value_before": "$4", "map_id": "$5"},),
    "key_lists": (COMPOSITE, "deals"),
    "keys_from_texts": (COMPOSITE, "changes.row_keys"),
    "partition_range": ({"id": "bigint"}, NUMBERS),
    "same_version": ({"key": COMPOSITE, "column": "stage"},),
    "holds_run": ("ledger.control", "$1", "$2"),
    "recorded_changes": ("revert", "ledger.changes"),
    "recorded_changes__comparing": ("update", "ledger.changes", True),
    "of_tenant": ("fund_id", "deals", "$1", "$2"),
    "key_columns": (COMPOSITE, "deals"),
    "key_columns__descending": (COMPOSITE, "deals", "desc"),
    "key_in_range": ({"id": "bigint"}, "deals", "$1", "$2"),
    "key_in_range__two_columns": (COMPOSITE, "deals", "$1", "$2"),
    "key_from_text": ({"id": "bigint"}, "deals.row_key"),
    "key_from_text__numbered": (COMPOSITE, "deals.row_key", True),
    "key_from_text__two_columns": (COMPOSITE, "deals.row_key"),
    "key_text": ({"id": "text"}, "deals"),
    "key_text__two_columns": (COMPOSITE, "deals"),
    "key_texts": ({"id": "text"}, "deals"),
    "key_texts__two_columns": (COMPOSITE, "deals"),
    "key_values": (COMPOSITE, "$1"),
    "numbered_columns": (COMPOSITE, "deals"),
    "stripe_of": ({"id": "bigint"}, "deals", "$1", "$2"),
    "stripe_of__two_columns": (COMPOSITE, "deals", "$1", "$2"),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_golden(name: str) -> None:
    """The caller places a text; a macro brings no space or line of its own at either end."""
    made = TEXTS[name]
    text = made() if callable(made) else str(render(name.partition("__")[0], *made))
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text + "\n")
    assert text + "\n" == path.read_text()
    assert text == text.strip() and "\n\n\n" not in text
    assert all(line == line.rstrip() for line in text.split("\n"))


def test_no_golden_text_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.sql" for name in TEXTS}


def test_strategy_gets_what_dbt_knows() -> None:
    expected = render(
        "merge_changed", "mart", "computed", ["deal_id"], COLUMNS, ["first_seen_at"], "this_run"
    )
    assert strategy("deal_id") == strategy(["deal_id"]) == expected
    assert "deal_id" not in strategy("stage").partition("when matched")[0]


def strategy(unique_key: Any, complete_keys: Any = "this_run", **context: Any) -> Any:
    arguments = {
        "target_relation": "mart",
        "temp_relation": "computed",
        "unique_key": unique_key,
        "dest_columns": [{"name": name} for name in COLUMNS],
    }
    return render(
        "get_incremental_merge_changed_sql", arguments, config=Config(complete_keys), **context
    )


def test_gone_keys_need_a_column_that_is_never_null() -> None:
    """Without one a row of which nothing is known looks like one that is gone."""

    def model(not_null: str) -> dict[str, Any]:
        columns: dict[str, Any] = {name: {"name": name, "constraints": []} for name in COLUMNS}
        columns[not_null]["constraints"] = [{"type": "not_null"}]
        return {"name": "fct_deals", "columns": columns}

    assert "then delete" in strategy("deal_id", "changed_rows", model=model("stage"))
    with pytest.raises(CompilerError, match=r"^fct_deals: complete_keys 'changed_rows'"):
        strategy("deal_id", "changed_rows", model=model("deal_id"))


# ------------------------------------------------------------------------------------ configuration


def test_entries_are_completed() -> None:
    whole, partial = render("managed_columns")
    assert whole == {
        **VARS["managed_columns"][0], "model": "stg_app__deals", "tenant_label": "fund",
        "guard": {"null": "refuse", "blank": "refuse"},
    }  # fmt: skip
    assert partial == {
        "table": "deals", "column": "tier", "key": {"id": "bigint"}, "vocabulary": "tier",
        "tenant": None, "updated_at": None, "mart": None, "mart_key": None,
        "model": "stg_app__deals", "kept_by_triggers": [], "tenant_label": "tenant",
        "guard": {"null": "allow", "blank": "refuse"},
    }  # fmt: skip
    assert render("managed_columns", "fct_deals") == [whole]
    assert render("managed_columns", "fct_others") == []
    assert render("managed_documents") == []
    assert render("vocabularies")["tier"] == {
        "name": "tier", "canonical_seed": "tiers", "alias_seed": "tier_aliases",
        "accept_broader": True, "noise_words": [],
    }  # fmt: skip
    assert [mart["key"] for mart in render("marts")] == ["id"]


MISSING = "<missing>"
WRONG: dict[str, list[list[Any]]] = data("wrong_entries.yml")


@pytest.mark.parametrize(
    ("var", "option", "value", "what", "allowed"),
    [(var, *case) for var, cases in WRONG.items() for case in cases],
)
def test_a_wrong_entry_is_named_with_what_is_allowed(
    var: str, option: str, value: Any, what: str, allowed: str
) -> None:
    variables = copy.deepcopy(VARS)
    entry = variables[var][0 if var == "managed_columns" else "stage"]
    entry.pop(option, None)
    if value != MISSING:
        entry[option] = value
    place = (
        "managed_columns entry 1 (" if var == "managed_columns" else f"vocabularies.stage: {what}"
    )
    with pytest.raises(CompilerError) as caught:
        render(var, variables=variables)
    assert str(caught.value).startswith(place)
    assert f"{what} is not allowed; allowed: " in str(caught.value)
    assert allowed in str(caught.value)


def test_any_name_that_postgresql_can_have() -> None:
    variables = copy.deepcopy(VARS)
    names = {"table": "My Deals", "column": 'St"age', "key": {"é" * 31: "bigint"}, "tenant": "user"}
    variables["managed_columns"][0].update(names, model="stg_app__deals")
    assert render("managed_columns", variables=variables)[0].items() >= names.items()


def test_entries_of_the_sample_follow_yours_if_it_is_on() -> None:
    """Their errors name the var that they are in."""
    sample = {**VARS["managed_columns"][1], "column": "level", "tenant_label": "house"}
    variables = {**VARS, "sample_columns": [sample], "sample": True}
    labels = [entry["tenant_label"] for entry in render("managed_columns", variables=variables)]
    assert labels == ["fund", "tenant", "house"]
    sample["vocabulary"] = "level"
    with pytest.raises(CompilerError, match=r"^sample_columns entry 1 \(deals.level\): vocabulary"):
        render("managed_columns", variables=variables)
    with pytest.raises(CompilerError, match=r"^vars: sample 'yes' is not allowed; allowed: true"):
        render("managed_columns", variables={**variables, "sample": "yes"})


def test_a_column_is_managed_once() -> None:
    variables = copy.deepcopy(VARS)
    variables["managed_columns"][1]["column"] = "stage"
    with pytest.raises(CompilerError, match=r"^managed_columns entry 2 .*one entry per column"):
        render("managed_columns", variables=variables)


def test_keys_by_name() -> None:
    assert render("is_integer_key", {"id": "bigint"}) and render("is_integer_key", {"i": "integer"})
    assert not render("is_integer_key", {"id": "uuid"})
    assert not render("is_integer_key", {"a": "bigint", "b": "bigint"})
    assert render("numbered_key", COMPOSITE) == {"key_1": "text", "key_2": "uuid"}


def test_a_column_that_the_staging_model_does_not_have() -> None:
    def managed(*columns: str) -> Any:
        node = {"resource_type": "model", "name": "stg_app__deals",
                "columns": {column: {} for column in columns}}  # fmt: skip
        return render("managed_columns", execute=True, graph={"nodes": {"a": node}})

    assert len(managed("id", "fund_id", "stage", "tier", "changed_at")) == 2
    with pytest.raises(CompilerError) as caught:
        managed("id", "fund_id", "stage", "changed_at")
    assert str(caught.value) == (
        "managed_columns entry 2 (deals.tier): column 'tier' is not allowed; "
        "allowed: id, fund_id, stage, changed_at"
    )


@pytest.mark.parametrize(
    ("unique_key", "complete_keys", "what", "allowed"),
    [
        (None, None, "unique_key 'missing'", "one or several columns"),
        (["deal"], None, "unique_key 'deal'", ", ".join(COLUMNS)),
        (["deal_id"], "all", "complete_keys 'all'", "{model: name, key: column}, changed_rows"),
        (["deal_id"], {"model": "a"}, "complete_keys '{'model': 'a'}'", "this_run"),
        (["deal_id", "stage"], {"model": "a", "key": "id"}, "complete_keys", "this_run"),
    ],
)
def test_a_wrong_merge_is_named_with_what_is_allowed(
    unique_key: Any, complete_keys: Any, what: str, allowed: str
) -> None:
    with pytest.raises(CompilerError) as caught:
        render("merge_changed", "mart", "computed", unique_key, COLUMNS, [], complete_keys)
    assert str(caught.value).startswith(f"merge_changed: {what}")
    assert "is not allowed; allowed: " in str(caught.value)
    assert allowed in str(caught.value)

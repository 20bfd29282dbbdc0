"""Rules of the house that dbt's manifest can tell: layers, names, descriptions, tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import trueup
from unit.conftest import PROJECT

LEDGER = ("migration_", "stage_", "verification_", "guard_", "validation_", "set_mode")
# Layer → its folder, the prefixes of its models and the layers it may read.
LAYERS: dict[str, tuple[str, tuple[str, ...], set[str]]] = {
    "source": ("models/staging", ("",), set()),
    "seed": ("seeds", ("",), set()),
    "staging": ("models/staging", ("stg_",), {"source"}),
    "intermediate": ("models/intermediate", ("int_",), {"staging", "seed", "intermediate"}),
    "marts": (
        "models/marts",
        ("fct_", "dim_"),
        {"staging", "seed", "intermediate", "marts"},
    ),
    "audit": (
        "models/audit",
        ("audit_",),
        {"source", "staging", "seed", "intermediate", "marts", "ledger", "audit", "snapshots"},
    ),
    "ledger": ("models/ledger", LEDGER, {"ledger"}),
    "snapshots": ("snapshots", ("snap_",), {"staging"}),
}
SNAKE = re.compile(r"[a-z][a-z0-9]*(_{1,2}[a-z0-9]+)*")
INTROSPECTION = re.compile(
    r"\brun_query\b|\bget_column_values\b|\bstatement\s*\(|\badapter\.(?!dispatch\b)"
)
LONGEST_NAME = 63  # PostgreSQL cuts longer ones
Node = dict[str, Any]
Manifest = dict[str, Any]


def nodes(manifest: Manifest, *kinds: str) -> list[Node]:
    """Nodes of our own of these resource types; sources count as nodes, disabled ones too."""
    everything = [*manifest["nodes"].values(), *manifest["sources"].values()]
    everything += [node for versions in manifest["disabled"].values() for node in versions]
    return [
        node
        for node in everything
        if node["package_name"] == "trueup"
        and node["resource_type"] != "operation"  # a hook of dbt_project.yml
        and (not kinds or node["resource_type"] in kinds)
    ]


def layer_of(node: Node) -> str:
    if node["resource_type"] in ("source", "seed", "snapshot"):
        return str(node["resource_type"]).replace("snapshot", "snapshots")
    for layer, (folder, _, _) in LAYERS.items():
        if layer != "source" and node["original_file_path"].startswith(folder + "/"):
            return layer
    return f"none of {', '.join(LAYERS)}: {node['original_file_path']}"


def wrong_reads(manifest: Manifest) -> list[str]:
    """Every reference from one layer to another that the layer may not read."""
    by_id = {node["unique_id"]: node for node in nodes(manifest)}
    return [
        f"{node['name']} reads {by_id[parent]['name']}"
        for node in nodes(manifest, "model", "snapshot")
        for parent in node["depends_on"]["nodes"]
        if layer_of(by_id[parent]) not in LAYERS[layer_of(node)][2]
    ]


def undescribed(manifest: Manifest) -> list[str]:
    """Everything without a description."""
    found = []
    for node in nodes(manifest):
        if not node.get("description", "").strip():
            found.append(node["unique_id"])
        found += [
            f"{node['unique_id']}.{name}"
            for name, column in node.get("columns", {}).items()
            if not column["description"].strip()
        ]
        if node["resource_type"] == "source" and not node["source_description"].strip():
            found.append(node["source_name"])
    for kind in ("exposures", "unit_tests"):
        found += [key for key, entry in manifest[kind].items() if not entry["description"].strip()]
    found += [
        key
        for key, macro in manifest["macros"].items()
        if macro["package_name"] == "trueup"
        and not macro["name"].startswith("_")
        and not macro["description"].strip()
    ]
    return found


def final_columns(compiled: str, cte: str = "final") -> list[str] | None:
    """The columns of a CTE, or None where they cannot be told."""
    if passed := re.search(rf"^{cte} as \(\n    select \* from (\w+)\n\)", compiled, re.M):
        return final_columns(compiled, passed[1])
    match = re.search(rf"^{cte} as \(\n    select\n(.*?)\n    from ", compiled, re.S | re.M)
    if not match:
        return None
    text = re.sub(r"--[^\n]*|'[^']*'", "", match[1])
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [re.split(r"[\s.]+", part.strip())[-1] for part in parts]


def test_prefix_and_folder_are_those_of_the_layer(manifest: Manifest) -> None:
    wrong = [
        node["original_file_path"]
        for node in nodes(manifest, "model", "snapshot")
        if layer_of(node) not in LAYERS or not node["name"].startswith(LAYERS[layer_of(node)][1])
    ]
    assert wrong == []


def test_a_layer_reads_only_layers_below_it(manifest: Manifest) -> None:
    assert wrong_reads(manifest) == []
    parents = manifest["nodes"]["model.trueup.int_value_counts"]["depends_on"]
    with pytest.MonkeyPatch.context() as patch:
        for parent in ("model.trueup.fct_deal_stages", "source.trueup.sample.investments",
                       "model.trueup.migration_runs"):  # fmt: skip
            patch.setitem(parents, "nodes", [parent])
            assert wrong_reads(manifest)


def test_everything_is_described(manifest: Manifest) -> None:
    assert undescribed(manifest) == []
    column = manifest["nodes"]["model.trueup.int_values"]["columns"]["text_key"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(column, "description", " ")
        assert undescribed(manifest) == ["model.trueup.int_values.text_key"]


def test_what_several_columns_say_is_written_once(manifest: Manifest) -> None:
    """As a `{% docs %}` block of models/docs."""
    paths = [path for folder in ("models", "seeds") for path in (PROJECT / folder).rglob("*.yml")]
    seen: dict[str, str] = {}
    repeated = []
    for path in paths:
        content = yaml.safe_load(path.read_text())
        for node in [*content.get("models", []), *content.get("seeds", [])]:
            for column in node.get("columns", []):
                text, name = column["description"].strip(), f"{node['name']}.{column['name']}"
                if "doc(" not in text and seen.setdefault(text, name) != name:
                    repeated.append(f"{name} and {seen[text]}: {text}")
    assert len(seen) > 50
    assert repeated == []


def test_the_overview_names_models_that_exist(manifest: Manifest) -> None:
    overview = manifest["docs"]["doc.trueup.__overview__"]["block_contents"]
    links = re.findall(r"\[(\w+)\]\(#!/(?:model|seed)/([\w.]+)\)", overview)
    assert len(links) >= 10
    for name, unique_id in links:
        assert manifest["nodes"][unique_id]["name"] == name


def test_described_columns_are_the_columns(manifest: Manifest, compiled: Path) -> None:
    """The contract of a ledger table writes its SQL."""
    seen = 0
    models = [n for n in nodes(manifest, "model")
              if not n["config"]["materialized"].startswith("ledger")]  # fmt: skip
    for node in models:
        path = compiled / "first" / node["original_file_path"]
        columns = final_columns(path.read_text() if path.exists() else "")
        if columns is not None:
            assert sorted(columns) == sorted(node["columns"]), node["name"]
            seen += 1
    assert seen >= len(models) - 1, "all but the disabled one"


def test_columns_of_seeds_are_described_and_typed(manifest: Manifest) -> None:
    for node in nodes(manifest, "seed"):
        header = (PROJECT / node["original_file_path"]).read_text().split("\n", 1)[0].split(",")
        assert list(node["columns"]) == header, node["name"]
        assert list(node["config"]["column_types"]) == header, node["name"]


def test_every_model_and_seed_has_a_test_of_its_grain(manifest: Manifest) -> None:
    """One row per key: `grain`, or for the aliases the uniqueness of their text key.

    The command writes the ledger; its primary keys, and its own tests, look after the grain.
    """
    tested = {
        node["attached_node"]
        for node in nodes(manifest, "test")
        if node.get("test_metadata", {}).get("name") in ("grain", "unique_text_key")
    }
    relations = nodes(manifest, "model", "seed")
    assert [node["name"] for node in relations if node["unique_id"] not in tested
            and node["config"]["enabled"] and layer_of(node) != "ledger"] == []  # fmt: skip


def test_every_data_test_has_a_name_and_a_description_of_its_own(manifest: Manifest) -> None:
    for node in nodes(manifest, "test"):
        if "test_metadata" in node:
            generated = node["test_metadata"]["name"] + "_"
            attached = node["attached_node"].split(".")[-1]
            assert node["name"].startswith(attached + "_"), node["name"]
            assert not node["name"].startswith(generated + attached), node["name"]
        else:  # of no one model; named as its folder
            folder = Path(node["original_file_path"]).parent.name
            assert node["name"].startswith(folder + "_"), node["name"]
        assert len(node["name"]) <= LONGEST_NAME, node["name"]
        assert node["alias"] == node["name"], node["name"]
        assert node["description"].strip(), node["name"]


def test_names_are_lower_case_snake(manifest: Manifest) -> None:
    names = [node["name"] for node in nodes(manifest)]
    names += [column for node in nodes(manifest) for column in node.get("columns", {})]
    names += [
        entry["name"]
        for kind in ("exposures", "unit_tests", "groups")
        for entry in manifest[kind].values()
    ]
    names += [m["name"].lstrip("_") for m in manifest["macros"].values()
              if m["package_name"] == "trueup"]  # fmt: skip
    wrong = [name for name in names if not SNAKE.fullmatch(name) or len(name) > LONGEST_NAME]
    assert wrong == []
    for name in ("Stage", "stage name", "_stage", "stage_", "a___b", "1a", "стадия"):
        assert not SNAKE.fullmatch(name)


def test_the_yaml_of_a_model_stands_beside_it(manifest: Manifest) -> None:
    for node in nodes(manifest, "model", "snapshot"):
        own = Path(node["original_file_path"]).with_suffix(".yml")
        patched = node["patch_path"] or f"trueup://{own}"
        assert patched == f"trueup://{own}", node["name"]
        content = yaml.safe_load((PROJECT / own).read_text())
        assert [entry["name"] for entry in content[f"{node['resource_type']}s"]] == [node["name"]]


def test_marts_are_contracted_and_write_only_what_changed(manifest: Manifest) -> None:
    for node in nodes(manifest, "model"):
        if layer_of(node) == "marts":
            config = node["config"]
            # views of documents have types that a contract of dbt does not know
            assert config["contract"]["enforced"] or "app_state" in node["fqn"], node["name"]
            assert config["access"] == "public", node["name"]
            assert all(column["data_type"] for column in node["columns"].values()), node["name"]
            if config["materialized"] != "view":
                assert config["materialized"] == "incremental", node["name"]
                assert config["incremental_strategy"] == "merge_changed", node["name"]
                assert config["on_schema_change"] == "fail", node["name"]
                assert config["unique_key"], node["name"]
                assert "complete_keys" in config["meta"], node["name"]


def test_ledger_tables_have_a_contract_and_one_schema(manifest: Manifest) -> None:
    """What a custom materialization warns of is said once, here: other projects get no warning."""
    seen = 0
    for node in nodes(manifest, "model"):
        if layer_of(node) == "ledger":
            assert node["schema"] == "trueup_ledger", node["name"]
            assert "ledger" in node["tags"], node["name"]
            assert all(column["data_type"] for column in node["columns"].values()), node["name"]
            if node["config"]["materialized"] == "ledger":
                assert node["config"]["contract"]["enforced"], node["name"]
                assert node["raw_code"].endswith("\n{{ trueup.ledger_shape() }}"), node["name"]
                columns = node["columns"].values()
                constraints = [c for column in columns for c in column["constraints"]]
                constraints += node["constraints"]
                assert constraints
                assert not any(each["warn_unsupported"] for each in constraints), node["name"]
                seen += 1
            elif node["config"]["materialized"] == "ledger_function":
                code = node["raw_code"]
                # with the rights of the ledger's owner, so not for everybody
                assert ("security definer" in code) == ("from public;" in code), node["name"]
            else:
                assert node["config"]["materialized"] == "view", node["name"]
    assert seen >= 7


def test_groups_and_access(manifest: Manifest) -> None:
    access = {"staging": "private", "intermediate": "protected", "marts": "public",
              "audit": "protected", "ledger": "protected"}  # fmt: skip
    for node in nodes(manifest, "model", "seed", "snapshot"):
        assert node["config"]["group"], node["name"]
        if node["resource_type"] == "model":
            assert node["config"]["access"] == access[layer_of(node)], node["name"]


def test_managed_tables_have_a_staging_model_with_their_columns(manifest: Manifest) -> None:
    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    models = {node["name"]: node for node in nodes(manifest, "model")}
    for entry in variables["sample_columns"] + variables["sample_documents"]:
        staged = set(models[f"stg_app__{entry['table']}"]["columns"])
        needed = {entry["column"], *entry["key"], entry.get("tenant"), entry.get("updated_at")}
        assert needed - {None} <= staged, entry
        if "mart" in entry:
            mart = models[entry["mart"]]["columns"]
            column = entry["column"]
            assert {entry["mart_key"], column, f"{column}_raw", f"{column}_resolution"} <= set(mart)


def test_vars_are_defined_and_used() -> None:
    defined = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    folders = ("models", "macros", "snapshots", "analyses", "tests/generic")
    files = [PROJECT / "dbt_project.yml"]
    files += [
        path for f in folders for e in ("sql", "yml") for path in (PROJECT / f).rglob(f"*.{e}")
    ]
    text = "\n".join(path.read_text() for path in files)
    # what only the command reads
    text += "\n".join(path.read_text() for path in (PROJECT / "scripts").rglob("*.py")).replace(
        '"', "'"
    )
    assert [name for name in defined if f"'{name}'" not in text] == []
    used = re.findall(r"\bvar\(\s*['\"](\w+)['\"]\s*([,)])", text)
    assert used
    assert [name for name, end in used if end == ")" and name not in defined] == []


def test_nothing_asks_the_database_while_compiling() -> None:
    files = [path for f in ("models", "macros/vocabulary", "macros/engine", "macros/audit")
             for path in (PROJECT / f).rglob("*.sql")]  # fmt: skip
    assert [path.name for path in files if INTROSPECTION.search(path.read_text())] == []
    assert INTROSPECTION.search("{%- set rows = run_query('select 1') -%}")
    assert INTROSPECTION.search("{% do adapter.get_columns_in_relation(this) %}")
    assert not INTROSPECTION.search("{{ adapter.dispatch('ref', 'dbt')() }}")


def test_versions() -> None:
    content = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())
    assert content["version"] == trueup.__version__
    supported = SpecifierSet(",".join(content["require-dbt-version"]))
    for version, expected in {"1.10.99": False, "1.11.0": True, "1.11.16": True, "1.12.0": True,
                              "1.12.6": True, "2.0.0": False}.items():  # fmt: skip
        assert supported.contains(version) is expected, version


# ------------------------------------------------------------------------------------------- macros


def own_macros(manifest: Manifest) -> list[Node]:
    return [m for m in manifest["macros"].values() if m["package_name"] == "trueup"]


def test_every_argument_of_a_macro_is_described_and_typed(manifest: Manifest) -> None:
    """test_everything_is_described finds missing macros, dbt wrong names and types."""
    seen = 0
    for macro in own_macros(manifest):
        if not macro["name"].startswith(("_", "test_", "materialization_")):
            for argument in macro["arguments"]:
                assert argument["type"], f"{macro['name']}({argument['name']})"
                assert argument["description"].strip(), f"{macro['name']}({argument['name']})"
                seen += 1
    assert seen >= 30


def test_every_documented_macro_exists(manifest: Manifest) -> None:
    documented = yaml.safe_load((PROJECT / "macros/_macros.yml").read_text())["macros"]
    names = [entry["name"] for entry in documented]
    assert len(names) == len(set(names))
    assert set(names) <= {macro["name"] for macro in own_macros(manifest)}


def test_one_public_macro_per_file_named_as_the_file(manifest: Manifest) -> None:
    by_file: dict[str, set[str]] = {}
    for macro in own_macros(manifest):
        by_file.setdefault(macro["original_file_path"], set()).add(macro["name"])
    for file, names in by_file.items():
        stem = Path(file).stem
        public = {name for name in names if not name.startswith("_")}
        prefix = "test_" if file.startswith("tests/") else ""
        # the names under which dbt calls a strategy and a materialization
        public = {re.sub("^materialization_(\\w+)_postgres$", "\\1", name) for name in public}
        assert public - {f"get_incremental_{stem}_sql"} == {prefix + stem}, file


def unqualified(text: str, names: set[str]) -> list[str]:
    """Macros of our own that a template calls without `trueup.`."""
    text = re.sub(r"\{#.*?#\}", "", text, flags=re.S)
    code = "".join(re.findall(r"\{[{%].*?[}%]\}", text, re.S))
    code = re.sub(r"\{%-? *(macro|test) \w+", "", code)
    return [name for name in re.findall(r"(?<![\w.'])(\w+)\(", code) if name in names]


def test_macros_call_each_other_by_their_full_name(manifest: Manifest) -> None:
    """Other projects call them: from there, only `trueup.name` is found."""
    names = {macro["name"] for macro in own_macros(manifest)} - {"ref", "source"}
    files = [*(PROJECT / "macros").rglob("*.sql"), *(PROJECT / "tests/generic").glob("*.sql")]
    found = {path.name: unqualified(path.read_text(), names) for path in files}
    assert {name: calls for name, calls in found.items() if calls} == {}
    fault = "{% macro a() %}{{ trueup.text_key('is_blank(x)') }} {{ is_blank('x') }}{% endmacro %}"
    assert unqualified(fault, names) == ["is_blank"]


def test_every_macro_file_starts_with_its_header() -> None:
    files = [*(PROJECT / "macros").rglob("*.sql"), *(PROJECT / "tests/generic").glob("*.sql")]
    assert files
    header = re.compile(r"\{#-\s+\S.{20,}?-#\}\n\{%", re.S)
    assert [path.name for path in files if not header.match(path.read_text())] == []
    assert not header.match("{%- macro so() -%}")

"""A project without the sample: nothing of it is left, and the words are the user's own.

The project manages one table of hotels, with a vocabulary and a word for its tenants of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from integration.conftest import App, new_app
from support.command import trueup
from trueup.cli.main import main

# The classic names of the ledger's relations and columns, and ids that the specifications fix.
CLASSIC = re.compile(
    r"stage_(migration|normalization)_\w+|stage_(before|after)|normalized_stage|fct_stage_coverage"
    r"|fund_id|--fund-id|per_fund_breakdown|is_cut_by_fund"
)
SAMPLE = re.compile(r"\w*(portfoliocomp|deal_opportunit|fund|stage)\w*", re.IGNORECASE)
HOTELS = """
    create table public.hotels (code text primary key, chain_no int, grade text, edited_at timestamptz);
    insert into public.hotels
    select 'H' || n, nullif(n % 5, 0),
        (array['Budget', 'De-luxe', 'luxury', 'Four star', 'palace', 'Campsite', null])[1 + n % 7],
        now()
    from generate_series(1, 210) as n;
"""  # noqa: E501
ENTRY = """  managed_columns:
    - {table: hotels, column: grade, key: {code: text}, tenant: chain_no, tenant_label: chain, vocabulary: grade,
       updated_at: edited_at, mart: fct_hotel_grades, mart_key: code}
"""  # noqa: E501
VOCABULARY = (
    "    grade: {canonical_seed: grades, alias_seed: grade_aliases, noise_words: [class]}\n"
)
FILES = {
    "seeds/app/grades.csv": """
        canonical_value,label,sort_rank,description
        budget,Budget,0,A bed
        luxury,Luxury,1,A butler
    """,
    "seeds/app/grade_aliases.csv": """
        alias_text,canonical_value,match_type,added_by,added_on,reason
        De luxe,luxury,exact,us,2026-01-01,French
        Four star,,ambiguous,us,2026-01-01,either
        Campsite,,out_of_scope,us,2026-01-01,no hotel
    """,
    "models/staging/app/_sources.yml": """
        sources: [{name: app, schema: "{{ var('app_schema') }}", tables: [{name: hotels}]}]
    """,
    "models/staging/app/stg_app__hotels.sql": """
        select code, chain_no, {{ binary_text('grade') }} as grade, edited_at
        from {{ source('app', 'hotels') }}
    """,
    "models/marts/app/fct_hotel_grades.sql": """
        select
            hotels.code,
            hotels.chain_no,
            {{ resolved_columns('hotels', 'grade', 'grade_values') }},
            hotels.edited_at
        from {{ ref('stg_app__hotels') }} as hotels
        left join {{ ref('int_values') }} as grade_values
            on hotels.grade = grade_values.raw_value and grade_values.vocabulary = 'grade'
    """,
    "models/marts/app/fct_hotel_grades.yml": """
        models:
          - name: fct_hotel_grades
            config: {unique_key: code, meta: {complete_keys: this_run}}
            columns:
              - {name: code, data_type: text, constraints: [{type: not_null}]}
              - {name: chain_no, data_type: integer}
              - {name: grade_raw, data_type: text}
              - {name: grade, data_type: text, data_tests: [canonical_value: {arguments: {vocabulary: grade}}]}
              - {name: grade_resolution, data_type: text}
              - {name: edited_at, data_type: timestamp with time zone}
    """,  # noqa: E501
    "snapshots/app/snap_app__hotels.yml": """
        snapshots:
          - name: snap_app__hotels
            relation: ref('stg_app__hotels')
            config: {strategy: check, unique_key: code, check_cols: [grade]}
    """,
}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[App]:
    """An empty database, and a copy of the project without the sample."""
    with new_app(tmp_path, "template1", "project/.trueup") as app:
        path = app.project / "dbt_project.yml"
        path.write_text(path.read_text().replace("  sample: true\n", "  sample: false\n"))
        yield app


def add_hotels(app: App) -> None:
    """What a user writes to have a table of their own managed."""
    app.query(HOTELS)
    path = app.project / "dbt_project.yml"
    text = path.read_text().replace("  managed_columns: []\n", ENTRY)
    head, rest = text.split("  vocabularies:\n")
    _, _, rest = rest.partition("\n\n")
    path.write_text(f"{head}  vocabularies:\n{VOCABULARY}\n{rest}")
    for name, content in FILES.items():
        file = app.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        indent = re.match(r"\n( *)", content)
        assert indent
        file.write_text(content.replace(f"\n{indent[1]}", "\n").strip() + "\n")


def strangers(text: str) -> set[str]:
    """Words of the sample in a text, and general words for what the user has named."""
    return {found[0] for found in SAMPLE.finditer(CLASSIC.sub("", text))}


def test_a_project_without_the_sample_has_only_its_own_words(empty: App) -> None:
    app, output = empty, empty.project.parent
    assert app.dbt("build").failures == []
    add_hotels(app)
    assert app.dbt("build").failures == []

    said = {}
    for command in (
        "doctor", "plan --rehearse", "apply --yes", "status", "unmapped",
        f"verify --tenant 3 --tenant none --output {output}/v.html --output {output}/v.md",
        f"verify --verbose --output {output}/v.json",
        f"report --output {output}/r.html --output {output}/r.json",
        f"compiled {output}/compiled", "docs",
    ):  # fmt: skip
        done = trueup(app.project, *command.split(), DATABASE_URL=app.url)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout + done.stderr
    # its own words
    assert "Found 1 unknown grade(s): palace" in said["plan --rehearse"]
    assert "by chain: 1: " in said["plan --rehearse"] and "no chain: " in said["plan --rehearse"]
    verified = said[f"verify --verbose --output {output}/v.json"]
    assert "Per-Chain Breakdown: 4 chains and rows without a chain, in 1 column" in verified
    assert app.query("""
        select grade, count(*)::int from public.hotels group by grade order by grade
    """) == [("Campsite", 30), ("Four star", 30), ("budget", 30), ("luxury", 60), ("palace", 30),
             (None, 30)]  # fmt: skip

    # and no others
    said |= {path.name: path.read_text() for path in output.iterdir() if path.is_file()}
    said |= {str(path.relative_to(output)): path.read_text()
             for path in (output / "compiled").rglob("*.sql")}  # fmt: skip
    manifest = json.loads((app.project / ".trueup/target/manifest.json").read_text())
    for kind in ("nodes", "sources", "exposures"):
        said |= {name: json.dumps({**node, "raw_code": ""}) for name, node in manifest[kind].items()
                 if node["config"]["enabled"]}  # fmt: skip
    for name, each in main.commands.items():
        for one in (each, *(each.commands.values() if isinstance(each, click.Group) else ())):
            said[f"{name} {one.name} --help"] = one.get_help(click.Context(one))
    found = {name: strangers(f"{name} {text}") for name, text in said.items()}
    assert {name: words for name, words in found.items() if words} == {}

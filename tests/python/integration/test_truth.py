"""Every row's resolution equals what the generator of the sample knows, and the project's truth table."""

from __future__ import annotations

import json
from pathlib import Path

from integration.conftest import App

TRUTH = Path(__file__).resolve().parents[1] / "data" / "resolution_truth.json"


def test_every_row_of_the_sample_is_resolved_as_its_generator_knows(shared_built: App) -> None:
    wrong = shared_built.query("""
        select truth.table_name, truth.column_name, truth.raw_value, truth.resolution, found.resolution
        from trueup_sample.truth
        left join trueup_intermediate.int_values as found
            on coalesce('=' || truth.raw_value, '') = coalesce('=' || found.raw_value, '')
        where (truth.resolution, truth.canonical_value)
            is distinct from (found.resolution, found.canonical_value)
    """)
    assert wrong == []

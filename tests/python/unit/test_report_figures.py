"""Figures over time and the judgement of a run's report: numbers in, coordinates and words out."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.migration.report_judgement import predictions, server_work, verdict
from trueup.migration.report_records import Column, Durations, Prediction, ServerWork, Updates
from trueup.show import figures

BOXES = st.sampled_from([figures.WIDE_BOX, figures.NARROW_BOX])
SECONDS = st.floats(0, 10**7)
MILLISECONDS = st.floats(0, 10**7)


def label(value: float) -> str:
    return f"{value:g}"


@given(
    st.lists(st.tuples(SECONDS, MILLISECONDS), max_size=50),
    st.dictionaries(st.sampled_from(["p50", "p95", "target"]), MILLISECONDS),
    BOXES,
)
def test_dots_levels_and_ticks_stay_in_their_box(
    found: list[tuple[float, float]], levels: dict[str, float], box: figures.Box
) -> None:
    dots = [figures.Dot(seconds, value, "change") for seconds, value in found]
    last = max((seconds for seconds, _ in found), default=0.0)
    drawn = figures.dots(dots, levels, [(last / 2, "1 h")], last, box, label)
    places = re.findall(r"M(-?[\d.]+) (-?[\d.]+)h0", drawn.paths.get("change", ""))
    assert len(places) == len(found)
    for x, y in places:
        assert 0 <= float(x) <= box.width and -0.1 <= float(y) <= box.height + 0.1
    heights = [*drawn.levels.values(), *(y for y, _ in drawn.ys)]
    assert all(-0.1 <= y <= box.height + 0.1 for y in heights)
    assert 2 <= len(drawn.ys) <= 16
    assert all(0 <= x <= box.width + 0.1 for x, _ in [*drawn.xs, *drawn.breaks])
    for (one, value), (other, more) in pairwise(
        sorted(((value, float(y)) for (_, value), (_, y) in zip(found, places, strict=True)))
    ):
        assert value >= more - 0.11, (one, other)  # what took longer is higher


def test_a_slow_batch_does_not_flatten_the_others() -> None:
    usual = [figures.Dot(n, 10, "change") for n in range(20)]
    slow = figures.Dot(20, 5000, "change")
    drawn = figures.dots([*usual, slow], {}, [], 20, figures.WIDE_BOX, label)
    assert [text for _, text in drawn.ys] == ["10", "100", "1000", "10000"]
    drawn = figures.dots(usual, {"p50": 10}, [], 20, figures.WIDE_BOX, label)
    assert [text for _, text in drawn.ys] == ["0", "2", "4", "6", "8", "10"]
    assert drawn.levels == {"p50": 0.0}


@given(st.lists(st.floats(0, 10**9), min_size=1, max_size=80), BOXES)
def test_steps_stay_in_their_box_and_follow_each_other(
    values: list[float], box: figures.Box
) -> None:
    found = [figures.Step(n, n + 1, value) for n, value in enumerate(values)]
    drawn = figures.steps(found, [], len(values), box, label)
    corners = re.findall(r"[ML]([\d.]+) (-?[\d.]+)H([\d.]+)", drawn.line)
    assert len(corners) == len(values)
    for (_, y, end), (start, _, _) in pairwise(corners):
        assert end == start and -0.1 <= float(y) <= box.height + 0.1
    top = max(values)
    if top >= 0.001:
        heights = [box.height - float(y) for _, y, _ in corners]
        assert max(heights) > box.height * 0.6  # the room is used
        for value, height in zip(values, heights, strict=True):
            assert height / max(heights) == pytest.approx(value / top, abs=0.02)
    assert drawn.area.startswith(f"M0 {box.height}L") and drawn.area.endswith("z")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.00042, "0.42 ms"), (0.0046, "4.6 ms"), (0.05, "50 ms"), (0.85, "850 ms"),
     (0.9999, "1.0 s"), (1, "1 s"), (1.25, "1.2 s"), (59.7, "1 min"), (90, "1 min 30 s"),
     (3600, "1 h"), (46_800, "13 h"), (90_061, "1 d 1 h")],
)  # fmt: skip
def test_times_are_readable(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


@given(st.floats(0, 10**8), BOXES)
def test_the_time_axis_has_few_round_labels(seconds: float, box: figures.Box) -> None:
    found = figures.dots([], {}, [], seconds, box, label).xs
    assert len(found) <= max(box.ticks, 5) + 1
    assert all(after - before > 20 for (before, _), (after, _) in pairwise(found))


# ------------------------------------------------------------------------------------- judgement

COLUMN = Column(
    table_name="t", column_name="c", status="completed", notes=None, brake=None, target_ms=50,
    sleep_ms=0, workers=1, measured=None, row_total=10, null_total=0, blank_total=0, stripes=1,
    rows_planned=5, rows_updated=5, rows_failed=0, rows_left=0, spellings=1, batches=1,
    batches_completed=1, batches_failed=0, batches_cancelled=0,
)  # fmt: skip


def measured(before: Any, after: Any) -> dict[str, Any]:
    names = ("n_tup_upd", "n_tup_hot_upd", "wal_bytes")
    return {
        "before": dict(zip(names, before, strict=True)),
        "after": dict(zip(names, after, strict=True)),
    }


def test_counters_of_a_table_are_not_added_up_over_its_columns() -> None:
    one = replace(COLUMN, measured=measured((10, 5, 1000), (110, 85, 9000)))
    found = server_work([one, replace(one, column_name="d"), replace(one, table_name="u")])
    assert [(each.table_name, each.updates, each.hot_updates) for each in found.tables] == [
        ("t", 100, 80), ("u", 100, 80)
    ]  # fmt: skip
    assert found.wal_bytes == 8000


@pytest.mark.parametrize(
    "counters",
    [None, {}, {"before": {"n_tup_upd": 1, "n_tup_hot_upd": 1, "wal_bytes": 1}},
     measured((10, 5, 10), (3, 1, 5)), measured((None, None, None), (1, 1, 1)),
     {"before": 1, "after": []}],
    ids=["none", "empty", "under way", "reset", "blind", "odd"],
)  # fmt: skip
def test_what_was_not_counted_is_not_recorded(counters: Any) -> None:
    found = server_work([replace(COLUMN, measured=counters)])
    assert found.tables == [] and found.wal_bytes is None


@pytest.mark.parametrize(
    ("kind", "status", "planned", "updated", "more", "checks", "state", "words"),
    [
        ("migrate", "completed", 5, 5, {}, "passed", "passed",
         "5 rows were changed, as many as the plan promised"),
        ("migrate", "completed", 1, 1, {}, "passed", "passed",
         "1 row was changed, as many as the plan promised"),
        ("migrate", "completed", 5, 5, {}, "open", "open",
         "5 rows were changed, as many as the plan promised"),
        ("migrate", "completed", 5, 4, {}, "passed", "passed",
         "4 of 5 promised rows were changed; the others were not as planned any more"),
        ("migrate", "completed", 5, 7, {}, "passed", "passed",
         "7 rows were changed: 5 as promised, and 2 written since the plan"),
        ("migrate", "completed", 0, 0, {}, "passed", "passed", "Nothing was to be changed"),
        ("migrate", "completed_with_failures", 5, 2, {"rows_failed": 1, "batches_failed": 2},
         "open", "failed",
         "2 of 5 promised rows were changed; 1 row refused by the database, 2 batches failed"),
        ("migrate", "completed_with_failures", 5, 4, {}, "open", "failed",
         "4 of 5 promised rows were changed; some were missed"),
        ("migrate", "paused", 5, 2, {"batches_completed": 1}, "open", "open",
         "The run is paused: 2 of 5 promised rows were changed, 2 batches not done"),
        ("rollback", "completed", 5, 5, {}, "passed", "passed",
         "5 rows were restored, as many as the plan promised"),
    ],
)  # fmt: skip
def test_the_verdict_is_a_sentence(
    kind: str, status: str, planned: int, updated: int, more: dict[str, int], checks: str,
    state: str, words: str,
) -> None:  # fmt: skip
    totals = {
        "rows_planned": planned, "rows_updated": updated, "rows_failed": 0, "batches": 3,
        "batches_completed": 3, "batches_failed": 0, **more,
    }  # fmt: skip
    found = verdict(kind, status, totals, 0, {"status": checks, "checks": []})
    assert (found.state, found.sentence) == (state, words)


REHEARSAL = {
    "columns": [
        {"prediction": {"rows": 100, "wal_bytes": 1000, "minutes_low": 1, "minutes_high": 2,
                        "hot_share": 0.5}},
        {"prediction": {"rows": 300, "wal_bytes": 2000, "minutes_low": 2, "minutes_high": 4,
                        "hot_share": 0.9}},
    ]
}  # fmt: skip
WORK = ServerWork([Updates("t", 200, 100), Updates("u", 200, 200)], 2500)
TOOK = Durations(3, 1.0, 2.0, 2.0, 200.0, 0.0, None, None)


def test_what_was_foreseen_stands_beside_what_came() -> None:
    assert predictions(REHEARSAL, {"rows_updated": 390}, TOOK, WORK) == [
        Prediction("rows to change", "rows", 400, 390),
        Prediction("write-ahead log", "bytes", 3000, 2500),
        Prediction("time, at least", "seconds", 180, 200.0),
        Prediction("time, at most", "seconds", 360, 200.0),
        Prediction("HOT updates", "share", 0.8, 0.75),
    ]


@pytest.mark.parametrize(
    "rehearsal",
    [None, {}, [], {"columns": None}, {"columns": [1]}, {"columns": [{"prediction": None}]},
     {"columns": [REHEARSAL["columns"][0], {"prediction": None}]},
     {"columns": [{"prediction": {"rows": "many", "minutes_low": None}}]}],
)  # fmt: skip
def test_what_was_not_foreseen_is_left_out(rehearsal: Any) -> None:
    assert predictions(rehearsal, {"rows_updated": 1}, TOOK, WORK) == []

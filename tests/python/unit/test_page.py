"""Pages: self-contained, well formed and readable whatever the values are. No database."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.page_reader import Page, check
from trueup.core.config import Vocabulary
from trueup.core.errors import TrueupError
from trueup.show import figures, page
from trueup.show.figures import Line, Part, Target
from trueup.show.terminal import visible
from trueup.vocabulary import value_page
from trueup.vocabulary.values import Found, Row
from unit.conftest import PROJECT

TEMPLATES = Path(page.__file__).parent / "templates"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=timezone.utc)
ORIGIN: dict[str, Any] = {
    "name": "deals.csv, column Stage",
    "facts": [("file", "deals.csv")],
    "command": "trueup try deals.csv --column Stage --output page.html",
    "all_values": "trueup try deals.csv --column Stage --format json",
    "alias_seed": "seeds/aliases.csv",
}
ALIASES = [{"alias_text": "Mauve", "reason": "a mixture, no colour of this list"}]
COLOUR = Vocabulary(
    "colour", Path(),
    {"red": {"label": "Red", "description": "The warm one."},
     "blue": {"label": "Blue", "description": "The cold one."}},
    ALIASES,
)  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "</style></title></svg><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' style='position:fixed",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&amp;&#60;",
    "<!-- --> ]]>",
    "two\nlines\tand a tab\r",
    "x" * 1_000_000,
    "\u202etxt.exe\u202c",
    "🚀👩\u200d👩\u200d👧" * 20,
    "Z" + "\u0301\u0335\u0489" * 200,
    "\x01\x1b[31mred\x7f\x85",
    "\ud800 half a pair",
    "種子輪" * 30,
    "",
    "   ",
]


def value(
    text: str | None, rows: int, resolution: str = "unknown", means: str | None = None, **more: Any
) -> Row:
    row = {"value": text, "rows": rows, "resolution": resolution, "canonical_value": means}
    return {**row, "matched_alias": None, "suggestion": None, **more}


def waiting(text: str, rows: int = 1, suggestion: str | None = None, **more: Any) -> Row:
    return {
        "raw_value": text, "spelling_count": 1, "row_count": rows, "found_in": "try_rows.value",
        "tenant_count": 0, "look_at": "record 7, 9", "suggested_value": suggestion,
        "seed_line": f"{text},{suggestion or ''},,me,2026-11-20,", **more,
    }  # fmt: skip


def coverage(table: str, column: str, values: list[Row], tenant: str | None = None) -> Row:
    def rows(*resolutions: str) -> int:
        return sum(each["rows"] for each in values if each["resolution"] in resolutions)

    resolved = sum(each["rows"] for each in values if each["canonical_value"] is not None)
    total, unknown = sum(each["rows"] for each in values), rows("unknown")
    canonical, missing = rows("canonical"), rows("blank", "null")
    return {
        "table_name": table, "column_name": column, "place": f"{table}.{column}", "tenant": tenant,
        "rows": total, "canonical": canonical, "resolved": resolved, "undecided": unknown,
        "to_change": resolved - canonical, "known": total - resolved - unknown - missing,
        "missing": missing, "filled": total - missing, "vocabulary_version": "0123456789abcdef" * 4,
    }  # fmt: skip


def found(values: list[Row], **more: Any) -> Found:
    """What the models would have found in one column that holds these values."""
    values = sorted(values, key=lambda each: -each["rows"])
    total = coverage("try_rows", "value", values)
    unknown = [each for each in values if each["resolution"] == "unknown"]
    filled: dict[str, Any] = {
        "vocabulary": COLOUR,
        "values": values,
        "total": total,
        "columns": [total] if values else [],
        "tenants": [total] if values else [],
        "unmapped": [waiting(each["value"] or "", each["rows"]) for each in unknown],
    }
    return Found(**{**filled, **more})


def build(data: Found, **more: Any) -> Page:
    text = value_page.build(data, NOW, **{**ORIGIN, **more})
    assert len(text.encode()) < 500_000
    return check(text)


PLAIN = [
    value("red", 400, "canonical", "red", matched_alias="red"),
    value("Red", 300, "exact", "red", matched_alias="red"),
    value("RED", 20, "exact", "red", matched_alias="red"),
    value("Navy", 50, "broader", "blue", matched_alias="Navy"),
    value("Mauve", 1415, "out_of_scope", matched_alias="Mauve"),
    value("Rde", 10, suggestion="red"),
    value(None, 5, "null"),
]


def test_the_numbers_of_the_page_are_those_of_the_models() -> None:
    columns = [coverage(name, "stage", PLAIN) for name in ("deals", "plans")]
    total = coverage("", "", PLAIN * 2)
    read = build(found(PLAIN, total=total, columns=columns), documents=["plans.stage"])
    rows = read.tables["Canonical values"]
    assert rows[0][:5] == ["canonical value", "rows after", "canonical now", "to be changed",
                           "spellings"]  # fmt: skip
    assert rows[1] == ["red", "720", "400", "320", "3", "Red · RED"]
    assert rows[2] == ["blue", "50", "0", "50", "1", "Navy"]
    assert read.tables["Reasons of out of scope"][1][:2] == [
        "a mixture, no colour of this list", "1,415"
    ]  # fmt: skip
    flow = read.tables["Meaning of the stored spellings"]
    assert flow[:4] == [
        ["red", "720 rows · 32.7\u202f%"], ["red", "400", ""], ["Red", "300", ""], ["RED", "20", ""]
    ]  # fmt: skip
    assert ["NULL", "5", ""] in flow
    names = [row[0] for row in read.tables["Coverage per column"]]
    assert names == ["column", "deals.stage", "plans.stage *"]
    for fact in ("2026-11-20 10:30:00 UTC", "0123456789abcdef" * 4, "deals.csv, column Stage",
                 "never rewritten in place"):  # fmt: skip
        assert fact in read.text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([], "There are no rows"),
        ([value("", 1, "blank")], "The only row is empty"),
        ([value(None, 9, "null")], "All 9 rows are empty"),
        ([value("red", 1, "canonical", "red")], "Every filled row is canonical already"),
        ([value("zzz", 1)], "No filled row is canonical or would become so; 1 waits"),
        ([value("Navy", 3, "broader")], "3 are narrower than a canonical value"),
        (
            PLAIN,
            "35.1\u202f% of filled rows will be canonical, up from 18.2\u202f%;"
            " 10 wait for a decision",
        ),
        ([PLAIN[1], PLAIN[4]], "17.5\u202f% of filled rows will be canonical;"
                               " 1,415 are known to be no colour"),
    ],
)  # fmt: skip
def test_the_headline_says_what_is_in_the_way(values: list[Row], says: str) -> None:
    read = build(found(values))
    assert says in " ".join(read.texts)
    assert ("Meaning of the stored spellings" in read.tables) == bool(values)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_a_hostile_value_is_shown_and_nothing_else(hostile: str) -> None:
    """Wherever a text can stand, the same one stands; the page has the tags of a harmless one."""

    def page_of(text: str) -> Page:
        # of the seeds and the database: no half pairs, and short
        word = text.encode(errors="replace").decode()[:80]
        values = [
            value(text, 9, suggestion=text),
            value(f"2{text}", 8, "exact", word, matched_alias=text),
            value(f"3{text}", 7, "out_of_scope", matched_alias=text),
        ]
        columns = [coverage(name, word, values, text) for name in (word, "b")]
        data = found(
            values,
            vocabulary=Vocabulary(
                word, Path(), {word: {"label": word, "description": word}},
                [{"alias_text": text, "reason": word}],
            ),
            total={**columns[0], "vocabulary_version": word},
            columns=columns,
            tenants=columns,
            unmapped=[waiting(text, 9, text, look_at=f"{text} 1", found_in=text)],
        )  # fmt: skip
        short = visible(text, 48)
        built = value_page.build(
            data, NOW, [f"{word}.{word}"], short, name=short, facts=[(short, short)],
            command=short, all_values=short, alias_seed=short,
        )  # fmt: skip
        assert len(built.encode("utf-8", "strict")) < 200_000
        return check(built)

    assert_only_shown(hostile, page_of(hostile), page_of("harmless"))


def assert_only_shown(hostile: str, read: Page, harmless: Page) -> None:
    attributes, allowed = ({n for _, n, _ in each.attributes} for each in (read, harmless))
    assert attributes - {"open"} <= allowed  # open: what else would show no seed line at all
    assert read.tags - {"small"} <= harmless.tags  # small: the length of a cut value
    if hostile.strip():
        assert visible(hostile, 48) in "".join(read.texts)
    assert "49" not in visible(hostile, 48)  # 7 * 7


def test_what_is_too_much_is_counted_and_the_page_says_so() -> None:
    values = [value(f"Red {number}", 3000 - number, "exact", "red") for number in range(3000)]
    queue = [value(f"what {number}", 1) for number in range(3000)]

    def tenant(name: str | None, resolved: int) -> Row:
        cells = [value("red", 1, "canonical", "red"), value("Red", resolved - 1, "exact", "red"),
                 value("Mauve", 10 - resolved, "ambiguous")]  # fmt: skip
        return coverage("deals", "stage", cells, name)

    tenants = [tenant(str(number), 1 + number % 9) for number in range(500)] + [tenant(None, 7)]
    tenants.sort(key=lambda row: (row["resolved"], row["tenant"] or ""))
    columns = [coverage("deals", "stage", PLAIN)]
    read = build(found(values + queue, columns=columns, tenants=tenants), tenant_label="house")
    said = read.text.replace("\u202f", " ")
    for sentence in (
        "200 of 3,000 spellings are listed.",
        "400 of 3,000 values are listed.",
        "2,700 values beyond what a page takes",
        "500 houses: from 10.0 % (house 0 ) to 90.0 % (house 98 ) after.",
        "No house: 70.0 % of 10 rows. 80 of them are drawn.",
        "300 of 500 houses are listed.",
    ):
        assert sentence in said
    flow = read.tables["Meaning of the stored spellings"]
    assert len(flow) < 30 and ["2,986 more", f"{4_501_500 - 41_909:,}", ""] in flow
    rows = read.tables["Tenants of deals.stage"]
    assert rows[1][:4] == ["no house", "10", "10.0\u202f%", "70.0\u202f%"]
    assert len(rows) == 1 + 1 + 300


def test_seed_lines_can_be_copied() -> None:
    queue = [
        waiting("rde", 9, "red", seed_line="rde,red,exact,me,2026-11-20,nearest to red"),
        waiting('a "b" <c>', 8, seed_line='"a ""b"" <c>",,,me,2026-11-20,'),
        waiting("---", 7, seed_line=None),
        waiting("hidden", 6, seed_line="hid\u202eden,,,me,2026-11-20,"),
        waiting("long", 5, seed_line="x" * 10_000),
    ]
    values = [value(each["raw_value"], each["row_count"]) for each in queue]
    read = build(found(values, unmapped=queue))
    assert "rde,red,exact,me,2026-11-20,nearest to red" in read.texts
    assert '"a ""b"" <c>",,,me,2026-11-20,' in read.texts
    assert "1 value without letters or digits" in read.text
    assert "2 values beyond what a page takes" in read.text
    assert "record 7, 9" in read.text  # sample keys in the file's words
    assert "5 values wait for a decision; 1 has a suggestion" in read.text


# ------------------------------------------------------------------------------------- templates


def test_a_template_that_misses_a_value_raises() -> None:
    with pytest.raises(jinja2.UndefinedError):
        page.render("report.html.j2")


def test_every_template_escapes_and_is_packaged() -> None:
    project = (PROJECT / "pyproject.toml").read_text()
    line = next(line for line in project.splitlines() if line.startswith('"trueup.show" ='))
    patterns = re.findall(r'"(templates/[^"]+)"', line)
    for path in TEMPLATES.iterdir():
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|<script", path.read_text()), path
        assert any(fnmatch(f"templates/{path.name}", pattern) for pattern in patterns), path


def test_contrast_is_enough_in_both_schemes() -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for what has to be told from the page."""
    css = (TEMPLATES / "style.css").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in css.split("@media")[:2])
    assert len(light) == len(dark) == 13
    for colours in (light, dark):
        for text in ("ink", "muted", "link"):
            assert contrast(colours[text], colours["paper"]) >= 4.5, text
        assert contrast(colours["ink"], colours["panel"]) >= 4.5
        for fill in ("now", "change", "stays", "unknown", "edge"):
            assert contrast(colours[fill], colours["paper"]) >= 3, fill
        assert contrast(colours["now"], colours["change"]) >= 2  # beside each other, with a gap


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


# --------------------------------------------------------------------------------------- figures


@given(st.lists(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), max_size=12))
def test_a_flow_loses_no_row_and_no_spelling(rows: list[list[int]]) -> None:
    targets = [
        Target(f"t{number}", "stays", sum(own) + 3, len(own) + 2,
               [Line(str(place), each, "change" if place else "now")
                for place, each in enumerate(own)])
        for number, own in enumerate(rows)
    ]  # fmt: skip
    drawn = figures.flow(targets)
    assert [each.title for each in drawn] == [each.title for each in targets if each.rows]
    for target in drawn:
        assert sum(line.rows for line in target.lines) == target.rows
        assert sum(line.gathered or 1 for line in target.lines) == target.spellings
        assert all(line.rows for line in target.lines)
    kept = [line for each in drawn for line in each.lines if line.kind == "change"]
    assert len(kept) <= figures.DRAWN + len(drawn)


@given(
    st.lists(st.tuples(st.floats(0, 10**7), st.floats(0, 10**7)), min_size=1, max_size=50),
    st.dictionaries(st.sampled_from(["p50", "p95"]), st.none() | st.floats(0, 10**7)),
)
def test_a_plot_stays_in_its_box_and_slow_is_high(
    found: list[tuple[float, float]], levels: dict[str, float | None]
) -> None:
    last = max(seconds for seconds, _ in found)
    drawn = figures.plot([(seconds, ms, "change") for seconds, ms in found], levels, last)
    places = re.findall(r"M(-?[\d.]+) (-?[\d.]+)h0", drawn.paths["change"])
    assert len(places) == len(found)
    for x, y in places:
        assert 0 <= float(x) <= 100 and 0 <= float(y) <= 100
    assert all(-1e-6 <= y <= 100 + 1e-6 for y in drawn.levels.values())
    assert drawn.ticks[0][0] == 0 and drawn.ticks[-1][0] == 100
    by_time = sorted((ms, -float(y)) for (_, ms), (_, y) in zip(found, places, strict=True))
    assert [height for _, height in by_time] == sorted(height for _, height in by_time)


def test_tenants_of_a_column_are_bars_and_rows_of_none_stand_apart() -> None:
    rows = [
        {"table_name": "t", "column_name": name, "tenant": tenant, "rows": 3}
        for name, tenant in (("a", "x"), ("a", None), ("a", "y"), ("b", None))
    ]
    (drawn,) = figures.strips(rows, lambda row: [Part("rows", row["rows"], "now")])
    assert (drawn.name, drawn.count, len(drawn.bars)) == ("t.a", 2, 2)
    assert drawn.apart == [Part("rows", 3, "now")]
    assert figures.legend([drawn]) == [Part("rows", 9, "now")]


# --------------------------------------------------------------------------------------- writing


def test_a_page_replaces_the_one_before_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link.html"
    link.symlink_to(path)
    page.write(link, "new ü 🚀")
    assert link.is_symlink() and path.read_text(encoding="utf-8") == "new ü 🚀"
    assert path.stat().st_mode & 0o777 == 0o640
    mask = os.umask(0o027)
    try:
        page.write(tmp_path / "other.html", "")
    finally:
        os.umask(mask)
    assert (tmp_path / "other.html").stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 3


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    page.check_writable(path)
    for wrong, why in ((tmp_path / "nowhere" / "page.html", "there is no folder"),
                       (tmp_path, "is a folder")):  # fmt: skip
        with pytest.raises(TrueupError, match=why):
            page.check_writable(wrong)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(TrueupError, match=r"page\.html cannot be written: No space left"):
        page.write(path, "new")
    with pytest.raises(UnicodeEncodeError):
        page.write(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

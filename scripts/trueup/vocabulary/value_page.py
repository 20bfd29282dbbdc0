"""The page of `trueup demo` and `trueup try`: chooses what of it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from trueup import __version__
from trueup.core import config
from trueup.show import figures, page
from trueup.show.figures import Line, Part, Row, Target
from trueup.show.terminal import counted, visible
from trueup.show.words import KINDS, KNOWN, LEFT
from trueup.vocabulary import value_tables
from trueup.vocabulary.values import Coverage, Found, TenantCoverage, Unmapped, Value

# Limits of a page; the rest is counted and mentioned as left out.
QUEUE = 400  # values that wait
SEED_LINES = 300
SEED_LINE = 300  # letters; what is longer is no alias
COLUMNS = 24


@dataclass(frozen=True)
class Origin:
    """The source of a page. facts: (term, description) pairs for the foot of the page.

    command: makes the page again. all_values: where every spelling can be read.
    documents: columns, as table.column, whose values are never rewritten in place.
    tenant_label: the word for a tenant.
    """

    name: str
    facts: Sequence[tuple[str, str]]
    command: str
    all_values: str
    alias_seed: str
    unit: str = ""
    documents: Sequence[str] = ()
    tenant_label: str = "tenant"


@dataclass(frozen=True)
class Group:
    """The spellings of one canonical value, or of one reason to have none."""

    title: str
    label: str
    meaning: str
    kind: str  # of a figure's part
    values: list[Value]

    @property
    def rows(self) -> int:
        return sum(value.rows for value in self.values)

    @property
    def canonical(self) -> int:
        return sum(value.rows for value in self.values if value.resolution == "canonical")

    @property
    def examples(self) -> list[str | None]:
        return [value.value for value in self.values if value.resolution != "canonical"]


@dataclass(frozen=True)
class SeedLines:
    """Lines for the alias seed: text, how many, and how many are left out."""

    text: str
    count: int
    left_out: int


def build(found: Found, origin: Origin, made_at: datetime) -> str:
    """The page as HTML."""
    total = _sum(found.coverage)
    canonical = [
        Group(name, row["label"], row["description"], "change", values)
        for name, row in found.vocabulary.values.items()
        if (values := [v for v in found.values if v.canonical_value == name])
    ]
    left = list(_left(found))
    columns = [
        (f"{row.table_name}.{row.column_name}", row, parts(vars(row)))
        for row in found.coverage[:COLUMNS]
    ]
    tenants = map(_tenant, sorted(found.tenants, key=_coverage))
    strips = {strip.name: strip for strip in figures.strips(tenants, lambda row: parts(row)[:-1])}
    return page.render(
        "report.html.j2",
        origin=origin,
        made_at=made_at,
        version=__version__,
        vocabulary=found.vocabulary.name,
        vocabulary_version=found.version,
        headline=headline(total, left, found.vocabulary.name),
        flow_headline=_flow_headline(found, total, len(canonical)),
        coverage_headline=_coverage_headline(found.coverage),
        stays_headline=_stays_headline(left),
        total=total,
        parts=parts(vars(total)),
        spellings=len(found.values),
        understood=sum(1 for value in found.values if value.canonical_value is not None),
        columns=columns,
        column_count=len(found.coverage),
        flow=figures.flow(map(_target, [*canonical, *left])),
        canonical=canonical,
        unused=[name for name in found.vocabulary.values
                if name not in {group.title for group in canonical}],
        left=left,
        stays=_stays(left, found.vocabulary.aliases),
        tenant_label=origin.tenant_label,
        strips=[strips[name] for name, *_ in columns if name in strips],
        queue=[(row, value_tables.sample_keys(row, origin.unit))
               for row in found.unmapped[:QUEUE]],
        waiting=len(found.unmapped),
        suggested=sum(1 for row in found.unmapped if row.suggested_value),
        has_tenants=any(row.tenant_count for row in found.unmapped),
        ready=_seed_lines(row for row in found.unmapped if row.suggested_value),
        open=_seed_lines(row for row in found.unmapped if not row.suggested_value),
        no_key=sum(1 for row in found.unmapped if row.seed_line is None),
        seed_columns=",".join(config.ALIAS_COLUMNS),
        seed_lines=SEED_LINES,
    )  # fmt: skip


def headline(total: Coverage, left: Sequence[Group], vocabulary: str) -> str:
    """The finding in one sentence: what will be canonical, and the main thing in the way."""
    if not total.rows:
        return "There are no rows, so there is nothing to decide"
    if not total.filled:
        return f"All {total.rows:,} rows are empty" if total.rows > 1 else "The only row is empty"
    if total.canonical == total.filled:
        return "Every filled row is canonical already"
    after = page.percent(total.resolved, total.filled)
    if not total.resolved:
        first = "No filled row is canonical or would become so"
    elif total.resolved == total.canonical:
        first = f"{after} of filled rows are canonical and nothing would change"
    else:
        first = f"{after} of filled rows will be canonical"
        if total.canonical:
            first += f", up from {page.percent(total.canonical, total.filled)}"
    if total.unknown:
        verb = "waits" if total.unknown == 1 else "wait"
        return f"{first}; {total.unknown:,} {verb} for a decision"
    if total.left:
        most = max((group for group in left if group.kind == "stays"), key=lambda each: each.rows)
        what = KNOWN[most.title].format(vocabulary=vocabulary)
        return f"{first}; {most.rows:,} {'is' if most.rows == 1 else 'are'} {what}"
    return first


def parts(row: Row) -> list[Part]:
    """A row of coverage as the parts of a bar; they add up to all rows."""
    return [
        Part("canonical already", row["canonical"], "now"),
        Part("to be changed", row["resolved"] - row["canonical"], "change"),
        Part("known, stays", row["left"], "stays"),
        Part("unknown", row["unknown"], "unknown"),
        Part("empty", row["missing"], "missing"),
    ]


def _sum(rows: Sequence[Coverage]) -> Coverage:
    names = ("rows", "canonical", "resolved", "left", "unknown", "missing")
    return Coverage("", "", *(sum(getattr(row, name) for row in rows) for name in names))


def _left(found: Found) -> Iterator[Group]:
    """Values without a canonical value, one group per resolution."""
    for resolution, (title, meaning) in LEFT.items():
        values = [
            value
            for value in found.values
            if value.canonical_value is None and value.resolution == resolution
        ]
        if values:
            meaning = meaning.format(vocabulary=found.vocabulary.name)
            yield Group(title, "", meaning, KINDS.get(resolution, "stays"), values)


def _stays(
    left: Sequence[Group], aliases: Sequence[dict[str, str]]
) -> list[tuple[Group, list[Group]]]:
    """Values that stay on purpose, each group with its spellings by the reason of their alias."""
    reasons = {row["alias_text"]: row["reason"] for row in aliases}
    found = []
    for group in left:
        if group.kind != "stays":
            continue
        by_reason: dict[str, list[Value]] = {}
        for value in group.values:
            reason = reasons.get(value.match or "", "no reason given")
            by_reason.setdefault(reason, []).append(value)
        detailed = [
            Group(group.title, "", reason, "stays", values) for reason, values in by_reason.items()
        ]
        found.append((group, sorted(detailed, key=lambda each: -each.rows)))
    return found


def _target(group: Group) -> Target:
    lines = [
        Line(value.value, value.rows, "now" if value.resolution == "canonical" else group.kind)
        for value in group.values
    ]
    return Target(group.title, group.kind, group.rows, len(lines), lines)


def _coverage(row: TenantCoverage) -> tuple[float, str]:
    """Sorts by the share that will be canonical; tenants with nothing filled come last."""
    return row.resolved / row.filled if row.filled else 2.0, row.tenant or ""


def _tenant(row: TenantCoverage) -> Row:
    """A row with what is shown of it; shares are of what is filled."""
    return {
        **vars(row),
        "filled": row.filled,
        "now": page.percent(row.canonical, row.filled),
        "after": page.percent(row.resolved, row.filled),
        "change": row.resolved - row.canonical,
    }


def _flow_headline(found: Found, total: Coverage, canonical: int) -> str:
    """How many spellings are understood, and how many rows that leaves as they are."""
    understood = sum(1 for value in found.values if value.canonical_value is not None)
    spellings = counted(len(found.values), "spelling")
    left = total.rows - total.resolved
    if not understood:
        return f"None of {spellings} means a canonical value; every row keeps what it has"
    verb = "means" if understood == 1 else "mean"
    first = f"{understood:,} of {spellings} {verb}"
    first = f"{first} one of {counted(canonical, 'canonical value')}"
    if not left:
        return first
    keep = "keeps what it has" if left == 1 else "keep what they have"
    return f"{first}; {counted(left, 'row')} {keep}"


def _coverage_headline(columns: Sequence[Coverage]) -> str:
    """From which share to which, over the columns that hold anything."""
    filled = [column for column in columns if column.filled]
    if not filled:
        return "No column holds a value"
    shares = sorted(filled, key=lambda total: total.resolved / total.filled)
    low, high = (page.percent(total.resolved, total.filled) for total in (shares[0], shares[-1]))
    if low == high:
        return f"{low} of filled rows will be canonical in every column"
    return f"From {low} to {high} of filled rows will be canonical, by column"


def _stays_headline(left: Sequence[Group]) -> str:
    """How many rows stay on purpose, how many for want of a decision, how many are empty."""
    words = {"stays": "on purpose", "unknown": "until decided", "missing": "because empty"}
    clauses = []
    for kind, why in words.items():
        rows = sum(group.rows for group in left if group.kind == kind)
        if rows:
            clauses.append(f"{rows:,} {why}")
    total = sum(group.rows for group in left)
    verb = "stays as it is" if total == 1 else "stay as they are"
    return f"{counted(total, 'row')} {verb}: {', '.join(clauses)}"


def _seed_lines(rows: Iterable[Unmapped]) -> SeedLines:
    """The lines that can be copied from a page: one line each, nothing invisible in them."""
    lines = [row.seed_line for row in rows if row.seed_line is not None]
    fit = [
        line for line in lines if len(line) <= SEED_LINE and visible(line, 2 * SEED_LINE) == line
    ][:SEED_LINES]
    return SeedLines("\n".join(fit), len(fit), len(lines) - len(fit))

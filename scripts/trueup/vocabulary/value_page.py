"""The page of `trueup demo` and `trueup try`: what the models found, as data for its template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from trueup import __version__
from trueup.core import config
from trueup.show import figures, page, terminal
from trueup.show.figures import Flow, Part, Strip
from trueup.show.words import KINDS, KNOWN, LEFT
from trueup.vocabulary import value_tables
from trueup.vocabulary.values import Coverage, Found, TenantCoverage, Unmapped, Value

# What a page shows at most; the rest is counted and said to be left out.
DRAWN = 12  # spellings in the flow, besides the canonical values and one per target
EXAMPLES = 4
SPELLINGS = 200  # of one target
QUEUE = 25  # values that wait, at first sight
QUEUE_ALL = 400
KEYS = 72  # letters of sample keys
SEED_LINES = 300
SEED_LINE = 300  # letters; what is longer is no alias
REASONS = 12
COLUMNS = 24
STRIPED = 120  # tenants of one column, as bars
TENANTS = 300  # tenants of one column, as a table


@dataclass(frozen=True)
class Origin:
    """What was looked at. facts: (term, description) pairs for the foot of the page.

    command: makes the page again. all_values: where every spelling can be read.
    documents: columns, as table.column, whose values are never rewritten in place.
    """

    name: str
    facts: Sequence[tuple[str, str]]
    command: str
    all_values: str
    alias_seed: str
    unit: str = ""
    documents: Sequence[str] = ()


@dataclass(frozen=True)
class Group:
    """The spellings of one canonical value, or of one reason to have none."""

    title: str
    label: str
    meaning: str
    kind: str
    values: list[Value]

    @property
    def rows(self) -> int:
        return sum(value.rows for value in self.values)

    @property
    def canonical(self) -> int:
        return sum(value.rows for value in self.values if value.resolution == "canonical")

    @property
    def examples(self) -> list[str]:
        others = (value for value in self.values if value.resolution != "canonical")
        shown = dict.fromkeys(page.short(value.value, 24) for value in others)
        return list(shown)[:EXAMPLES]

    @property
    def listed(self) -> list[Value]:
        return self.values[:SPELLINGS]

    @property
    def unlisted(self) -> list[Value]:
        return self.values[SPELLINGS:]


@dataclass(frozen=True)
class Column:
    """Coverage of one column, and its tenants where it has any."""

    name: str
    total: Coverage
    parts: list[Part]
    document: bool
    tenants: list[TenantCoverage] = field(default_factory=list)  # lowest coverage first
    none: TenantCoverage | None = None  # the rows of no tenant
    strip: Strip | None = None


@dataclass(frozen=True)
class Waiting(Unmapped):
    """A value of the queue; places: columns it stands in, look_at: keys with their table once."""

    places: int
    look_at: str


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
        Group(stage.stage, stage.label, stage.description, "change", values)
        for stage in found.stages
        if (values := [value for value in found.values if value.stage == stage.stage])
    ]
    left = list(_left(found))
    columns = _columns(found, origin)
    queue = [_waiting(row, origin) for row in found.unmapped]
    return page.render(
        "report.html.j2",
        origin=origin,
        made_at=made_at,
        version=__version__,
        vocabulary=found.vocabulary,
        vocabulary_version=found.vocabulary_version,
        headline=headline(total, left, found.vocabulary),
        flow_headline=_flow_headline(found, total, len(canonical)),
        coverage_headline=_coverage_headline(columns),
        stays_headline=_stays_headline(left),
        total=total,
        parts=parts(total),
        spellings=len(found.values),
        understood=sum(1 for value in found.values if value.stage is not None),
        columns=columns[:COLUMNS],
        columns_left_out=len(columns) - len(columns[:COLUMNS]),
        flows=_flows([*canonical, *left]) if total.rows else [],
        canonical=canonical,
        unused=[stage.stage for stage in found.stages if not _has(canonical, stage.stage)],
        left=left,
        stays=_stays(left, found.reasons),
        reasons=REASONS,
        seed_lines=SEED_LINES,
        queue=queue[:QUEUE],
        queue_more=queue[QUEUE:QUEUE_ALL],
        waiting=len(queue),
        suggested=sum(1 for row in queue if row.suggested_value),
        queue_columns=len(columns) > 1,
        queue_tenants=any(row.tenant_count for row in queue),
        ready=_seed_lines(row for row in found.unmapped if row.suggested_value),
        open=_seed_lines(row for row in found.unmapped if not row.suggested_value),
        no_key=sum(1 for row in found.unmapped if row.seed_line is None),
        seed_columns=",".join(config.ALIAS_COLUMNS),
        tenants_listed=TENANTS,
        tenants_striped=STRIPED,
        has_tenants=any(column.strip for column in columns),
    )


def headline(total: Coverage, left: Sequence[Group], vocabulary: str) -> str:
    """The finding in one sentence: what will be canonical, and the main thing in the way."""
    if not total.rows:
        return "There are no rows, so there is nothing to decide"
    if not total.filled:
        return (
            f"All {page.plural(total.rows, 'row')} are empty"
            if total.rows > 1
            else ("The only row is empty")
        )
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
        return f"{first}; {page.number(total.unknown)} {verb} for a decision"
    if total.left:
        most = max((group for group in left if group.kind == "stays"), key=lambda each: each.rows)
        what = KNOWN[most.title].format(vocabulary=vocabulary)
        return f"{first}; {page.number(most.rows)} {'is' if most.rows == 1 else 'are'} {what}"
    return first


def parts(rows: Coverage) -> list[Part]:
    """Coverage as the parts of a bar; they add up to all rows."""
    return [
        Part("canonical already", rows.canonical, "now"),
        Part("to be changed", rows.resolved - rows.canonical, "change"),
        Part("known, stays", rows.left, "stays"),
        Part("unknown", rows.unknown, "unknown"),
        Part("empty", rows.missing, "missing"),
    ]


def _sum(rows: Iterable[Coverage]) -> Coverage:
    found = list(rows)
    return Coverage(
        table_name="",
        column_name="",
        rows=sum(row.rows for row in found),
        canonical=sum(row.canonical for row in found),
        resolved=sum(row.resolved for row in found),
        left=sum(row.left for row in found),
        unknown=sum(row.unknown for row in found),
        missing=sum(row.missing for row in found),
    )


def _has(groups: Sequence[Group], title: str) -> bool:
    return any(group.title == title for group in groups)


def _left(found: Found) -> Iterator[Group]:
    """What has no canonical value, one group per resolution."""
    for resolution, (title, meaning) in LEFT.items():
        values = [
            value
            for value in found.values
            if value.stage is None and value.resolution == resolution
        ]
        if values:
            meaning = meaning.format(vocabulary=found.vocabulary)
            yield Group(title, "", meaning, KINDS.get(resolution, "stays"), values)


def _stays(left: Sequence[Group], reasons: dict[str, str]) -> list[tuple[Group, list[Group]]]:
    """What stays on purpose, each group with its spellings by the reason of their alias."""
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


def _flows(groups: Sequence[Group]) -> list[Flow]:
    """The same flow for a desk and for a phone."""
    others = [
        value for group in groups for value in group.values if value.resolution != "canonical"
    ]
    commonest = sorted(others, key=lambda value: -value.rows)[:DRAWN]
    drawn = {id(value) for value in commonest}
    flows = []
    for shape in (figures.WIDE, figures.NARROW):
        targets = [
            figures.Target(
                page.short(group.title, shape.right_columns),
                "now" if group.label else group.kind,
                list(_streams(group, drawn, shape)),
            )
            for group in groups
        ]
        flows.append(figures.flow(targets, shape))
    return flows


def _streams(group: Group, drawn: set[int], shape: figures.Shape) -> Iterator[figures.Stream]:
    """The canonical value, the spellings chosen and the commonest one; the rest as one stream."""
    rest = []
    first = True
    for value in group.values:
        canonical = value.resolution == "canonical"
        if canonical or first or id(value) in drawn:
            first = first and canonical
            kind = "now" if canonical else group.kind
            yield figures.Stream(page.short(value.value, shape.left_columns), value.rows, kind)
        else:
            rest.append(value)
    if len(rest) == 1:
        yield figures.Stream(
            page.short(rest[0].value, shape.left_columns), rest[0].rows, group.kind
        )
    elif rest:
        more = f"{page.number(len(rest))} more"
        label = f"{more} spellings" if len(more) + 10 <= shape.left_columns else more
        yield figures.Stream(label, sum(value.rows for value in rest), group.kind)


def _columns(found: Found, origin: Origin) -> list[Column]:
    """Every column with its tenants, the biggest column first."""
    columns = []
    for total in found.coverage:
        name = f"{total.table_name}.{total.column_name}"
        rows = [
            row
            for row in found.tenants
            if (row.table_name, row.column_name) == (total.table_name, total.column_name)
        ]
        tenants = sorted((row for row in rows if row.tenant is not None), key=_coverage)
        none = next((row for row in rows if row.tenant is None), None)
        strip = None
        if tenants:
            bars = [_filled_parts(row) for row in tenants[:STRIPED]]
            strip = figures.strip(bars, _filled_parts(none) if none else None)
        columns.append(
            Column(name, total, parts(total), name in origin.documents, tenants, none, strip)
        )
    return columns


def _coverage(row: TenantCoverage) -> tuple[float, str]:
    """Sorts by the share that will be canonical; tenants with nothing filled come last."""
    return row.resolved / row.filled if row.filled else 2.0, row.tenant or ""


def _filled_parts(row: TenantCoverage) -> list[Part]:
    return [part for part in parts(row) if part.kind != "missing"]


def _waiting(row: Unmapped, origin: Origin) -> Waiting:
    keys = value_tables.sample_keys(row, origin.unit)
    return Waiting(**vars(row), places=row.found_in.count(", ") + 1, look_at=page.short(keys, KEYS))


def _flow_headline(found: Found, total: Coverage, canonical: int) -> str:
    """How many spellings are understood, and how many rows that leaves as they are."""
    understood = sum(1 for value in found.values if value.stage is not None)
    spellings = page.plural(len(found.values), "spelling")
    left = total.rows - total.resolved
    if not understood:
        return f"None of {spellings} means a canonical value; every row keeps what it has"
    verb = "means" if understood == 1 else "mean"
    first = f"{page.number(understood)} of {spellings} {verb}"
    first = f"{first} one of {page.plural(canonical, 'canonical value')}"
    if not left:
        return first
    keep = "keeps what it has" if left == 1 else "keep what they have"
    return f"{first}; {page.plural(left, 'row')} {keep}"


def _coverage_headline(columns: Sequence[Column]) -> str:
    """From which share to which, over the columns that hold anything."""
    filled = [column.total for column in columns if column.total.filled]
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
            clauses.append(f"{page.number(rows)} {why}")
    total = sum(group.rows for group in left)
    verb = "stays as it is" if total == 1 else "stay as they are"
    return f"{page.plural(total, 'row')} {verb}: {', '.join(clauses)}"


def _seed_lines(rows: Iterable[Unmapped]) -> SeedLines:
    """The lines that can be copied from a page: one line each, nothing invisible in them."""
    lines = [row.seed_line for row in rows if row.seed_line is not None]
    fit = [
        line
        for line in lines
        if len(line) <= SEED_LINE and terminal.visible(line, SEED_LINE) == line
    ][:SEED_LINES]
    return SeedLines("\n".join(fit), len(fit), len(lines) - len(fit))

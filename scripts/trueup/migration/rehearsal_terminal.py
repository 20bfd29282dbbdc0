"""A rehearsal on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from trueup.migration import rehearsal
from trueup.migration.tried_batch import KEPT, QUARANTINED, STOPS, TOGETHER, UNTRIED
from trueup.show.terminal import bytes_text, counted, duration, visible

CONSEQUENCES = {
    QUARANTINED: "apply would put the row into quarantine and go on",
    KEPT: "apply would report the rows as missed",
    STOPS: "apply would stop there",
    TOGETHER: "apply would change them in smaller parts, and put what is still refused into"
    " quarantine",
    UNTRIED: "there may be more rows that apply cannot change",
}


def show(out: Console, rehearsed: Mapping[str, Any] | None) -> bool:
    """For each column the result of one batch, and the estimated cost of the run.

    Returns whether an error was found that would make `apply` exit with 1.
    """
    if rehearsed is None:
        return False
    for column in rehearsed["columns"]:
        tried = column["tryout"]
        place = f"{column['table_name']}.{column['column_name']}"
        out.print(f"[bold]rehearsed {escape(place)}[/]")
        for line in _lines(tried, column["prediction"]):
            out.print(f"  {line}", markup=False, soft_wrap=True)
        for each in tried["refusals"]:
            row = f"row {each['row_key']}: " if each["consequence"] == QUARANTINED else ""
            state = f" ({each['sqlstate']})" if each["sqlstate"] else ""
            line = f"{row}{each['message']}{state} → {CONSEQUENCES[each['consequence']]}"
            out.print(f"  [red]✗[/] {escape(line)}", soft_wrap=True)
        out.print()
    if found := rehearsal.refusals(rehearsed):
        words = dict.fromkeys(CONSEQUENCES[each["consequence"]] for each in found)
        errors = counted(len(found), "error")
        click.echo(f"The rehearsal found {errors}: {'; '.join(words)}.", err=True)
    return bool(found)


def _lines(tried: Mapping[str, Any], estimate: Mapping[str, Any] | None) -> Iterator[str]:
    took = f" in {tried['duration_ms']:,.0f} ms" if tried["rows_changed"] else ""
    rows = f"{tried['rows_changed']:,} of {counted(tried['rows'], 'row')}"
    if (parts := tried["parts"]) > 1:
        yield f"batch {tried['batch_id']}: {rows} accepted, each of {parts} parts by itself{took}"
    else:
        yield f"batch {tried['batch_id']}: {rows} changed{took}, and rolled back"
    yield from tried["notes"]
    others = [
        f"{each['column_name']} of {counted(each['rows'], 'row')}, for example {each['row_key']}:"
        f" {visible(each['before'], 32)} → {visible(each['after'], 32)}"
        for each in tried["other_columns"]
    ]
    if others:
        yield f"other columns change too: {'; '.join(others)}"
    for each in tried["other_rows"]:
        written = f"{counted(each['rows'], 'row')} {each['action']}"
        yield (f"triggers write to {each['relation']}: {written}; the estimate does not count that")
    if estimate is None:
        yield "no estimate: no row of the batch could be changed"
        return
    low, high = (round(estimate[name]) for name in ("seconds_low", "seconds_high"))
    seconds = "about " if low == high else f"{duration(low)} to " if low else "at most "
    wal = " to ".join(bytes_text(estimate[name]) for name in ("wal_bytes_low", "wal_bytes_high"))
    planned = counted(estimate["rows_planned"], "row")
    yield f"Estimated duration: {seconds}{duration(high)}, pauses included"
    yield (
        f"Estimated write-ahead log: {wal} for {planned};"
        " checkpoints before and during the run add to it"
    )

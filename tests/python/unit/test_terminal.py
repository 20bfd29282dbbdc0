"""Values, shares and bars as people see them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from trueup.core.dbt import Failure, Outcome
from trueup.show import terminal


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"),
        ("NULL", "NULL"),
        ("", "''"),
        (" ", "' '"),
        ("Seed", "Seed"),
        (" Seed", "' Seed'"),
        ("Seed\n", "'Seed⏎'"),
        ("a\tb", "a⇥b"),
        ("Se\u200bed", "Se‹U+200B›ed"),
        ("\ufeffSeed", "‹U+FEFF›Seed"),
        ("a\u00a0b", "a‹U+00A0›b"),
        ("\x1b[31mred", "‹U+001B›[31mred"),
        ("e\u0301", "e‹U+0301›"),
        ("\U000e0041", "‹U+E0041›"),
        ("种子轮", "种子轮"),
        ("a" * 48, "a" * 48),
        ("a" * 49, "a" * 48 + "…"),
    ],
)
def test_visible(value: str | None, shown: str) -> None:
    assert terminal.visible(value) == shown


def test_visible_never_breaks_the_line_or_prints_what_cannot_be_seen() -> None:
    for point in (*range(0x250), *range(0x2000, 0x2070), 0x85, 0xFEFF, 0xE0001):
        shown = terminal.visible(chr(point))
        assert shown.isprintable(), hex(point)
        assert len(shown.splitlines()) == 1, hex(point)


@pytest.mark.parametrize("value", ["[bold]x[/]", "[/]", "\\[x]"])
def test_markup_in_a_value_is_shown_as_it_is(value: str) -> None:
    stream = io.StringIO()
    outcome = Outcome(failures=[Failure("a_test", "broken", None)])
    terminal.show_failures(Console(file=stream, width=100), outcome, {"a_test": [{"value": value}]})
    assert f"value = {value}" in stream.getvalue()


@pytest.mark.parametrize(
    ("share", "filled"),
    [(0, 0), (0.000001, 1), (0.1, 1), (0.5, 5), (0.94, 9), (0.999999, 9), (1, 10)],
)
def test_bar_is_full_and_empty_only_where_the_share_is(share: float, filled: int) -> None:
    assert terminal.bar(share, 10) == "█" * filled + "░" * (10 - filled)


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "–"),
        (0, 10, "0.0 %"),
        (10, 10, "100.0 %"),
        (1, 2, "50.0 %"),
        (1, 3, "33.3 %"),
        (1, 1_000_000, "< 0.1 %"),
        (1, 1000, "0.1 %"),
        (999, 1000, "99.9 %"),
        (999_999, 1_000_000, "> 99.9 %"),
    ],
)
def test_percent(part: int, whole: int, shown: str) -> None:
    assert terminal.percent(part, whole) == shown


def test_no_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("dbt") as step:
        step("int_values", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_no_colour_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = terminal.console()
    out.print("[bold red]x[/]" + "y" * 98)
    assert out.width == terminal.WIDTH
    assert capsys.readouterr().out == "x" + "y" * 98 + "\n"

"""Values, shares and bars as people see them."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
        ("a" * 49, "a" * 47 + "…"),
        ("种" * 25, "种" * 23 + "…"),
        ("a" * 45 + "\u200b" * 2, "a" * 45 + "…"),
    ],
)
def test_visible(value: str | None, shown: str) -> None:
    assert terminal.visible(value) == shown


@given(st.text(max_size=300), st.integers(1, 60))
def test_visible_fits_and_prints_nothing_that_cannot_be_seen(text: str, columns: int) -> None:
    shown = terminal.visible(text, columns)
    width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in shown)
    assert width <= columns + 2  # quotes of a value with white space at its ends
    assert shown.isprintable() and len(shown.splitlines()) == 1
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in shown)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (10_239, "10239 bytes"), (10_240, "10 kB"), (1_551_360, "1515 kB"),
     (64 * 1024**2, "64 MB"), (5 * 1024**5, "5120 TB"), (-20_480, "-20 kB")],
)  # fmt: skip
def test_bytes_are_written_as_the_server_does(count: int, shown: str) -> None:
    assert terminal.bytes_text(count) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.00042, "0.42 ms"), (0.0046, "4.6 ms"), (0.05, "50 ms"), (0.85, "850 ms"),
     (0.9999, "1.0 s"), (1, "1 s"), (1.25, "1.2 s"), (59.7, "1 min"), (90, "1 min 30 s"),
     (3600, "1 h"), (46_800, "13 h"), (90_061, "1 d 1 h")],
)  # fmt: skip
def test_times_are_readable(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


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

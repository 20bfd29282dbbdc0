"""Values, shares and bars as people see them."""

from __future__ import annotations

import io
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from support import data
from trueup.core.dbt import Failure, Outcome
from trueup.show import terminal


@pytest.mark.parametrize(
    ("function", "given", "shown"),
    [(name, given, shown) for name, rows in data("shown.yml").items() for *given, shown in rows],
)
def test_what_is_shown(function: str, given: list[Any], shown: str) -> None:
    assert getattr(terminal, function)(*given) == shown


@given(st.text(max_size=300), st.integers(1, 60))
def test_visible_fits_and_prints_nothing_that_cannot_be_seen(text: str, columns: int) -> None:
    shown = terminal.visible(text, columns)
    width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in shown)
    assert width <= columns + 2  # quotes of a value with white space at its ends
    assert shown.isprintable() and len(shown.splitlines()) == 1
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in shown)


@pytest.mark.parametrize("value", ["[bold]x[/]", "[/]", "\\[x]"])
def test_markup_in_a_value_is_shown_as_it_is(value: str) -> None:
    stream = io.StringIO()
    outcome = Outcome(failures=[Failure("a_test", "broken", None)])
    terminal.show_failures(Console(file=stream, width=100), outcome, {"a_test": [{"value": value}]})
    assert f"value = {value}" in stream.getvalue()


def test_no_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("dbt") as step:
        step("int_values", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_no_colour_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = terminal.console()
    out.print("[bold red]x[/]" + "y" * 98)
    assert out.width == terminal.WIDTH
    assert capsys.readouterr().out == "x" + "y" * 98 + "\n"

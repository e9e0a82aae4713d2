"""The command line's way with operators' mistakes."""

from __future__ import annotations

import pytest
import typer

from launcher.cli import seed


def test_seeding_what_does_not_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        seed("http://127.0.0.1:1/graphql")

    assert capsys.readouterr().err.startswith("error: http://127.0.0.1:1/graphql: ")

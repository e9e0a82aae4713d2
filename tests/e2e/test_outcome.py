"""The walk's outcome: what differs from the file fails, by line; what is only late does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e import outcome
from tests.e2e.smoke import SETS, WALK

STEPS = ["ok   social: likes"]
WORLD: Any = None
"""Nobody is asked: `sees` says what they would answer."""


def sees(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    left = list(answers)

    async def seen(_world: object) -> list[str]:
        return [left.pop(0) if len(left) > 1 else left[0]]

    monkeypatch.setattr(outcome, "_seen", seen)


@pytest.fixture(autouse=True)
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTCOME", raising=False)
    path = tmp_path / "outcome.txt"
    path.write_text("ok   social: likes\n\nalice: 3 likes\n")
    monkeypatch.setattr(outcome, "GOLDEN", path)


async def test_what_people_see_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sees(monkeypatch, "alice: 2 likes", "alice: 3 likes")
    await outcome.check(WORLD, STEPS)


@pytest.mark.parametrize(
    ("steps", "seen", "told"),
    [(STEPS, "alice: 4 likes", "+alice: 4 likes"), ([], "alice: 3 likes", "-ok   social: likes")],
)
async def test_what_differs_is_told_by_line(
    monkeypatch: pytest.MonkeyPatch, steps: list[str], seen: str, told: str
) -> None:
    monkeypatch.setattr(outcome, "CONVERGE_S", -1.0)
    sees(monkeypatch, seen)
    with pytest.raises(outcome.Different) as different:
        await outcome.check(WORLD, steps)
    assert told in str(different.value).splitlines()


def test_every_set_of_engines_walks_the_common_steps_and_its_own_besides() -> None:
    for _, own in SETS.values():
        assert own and not set(own) & set(WALK)

"""The declaration is read strictly, and says where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from feed_svc.experiments.declared import BadExperiments, read_experiments, tuned
from feed_svc.settings import FeedSettings


def arms(**second: Any) -> list[dict[str, Any]]:
    """A control and another arm."""
    return [{"name": "control"}, {"name": "other", **second}]


def read(tmp_path: Path, declared: object) -> Any:
    path = tmp_path / "experiments.json"
    path.write_text(declared if isinstance(declared, str) else json.dumps(declared), encoding="utf-8")
    return read_experiments(path, FeedSettings())


def test_a_declaration_becomes_experiments(tmp_path: Path) -> None:
    (one,) = read(
        tmp_path,
        [
            {
                "name": "explore-more",
                "arms": arms(settings={"exploration_every": 5}, value_weights={"like": 2}, weight=3),
                "guardrails": {"skip_rate": 0.05},
                "share": 0.2,
            }
        ],
    )
    assert (one.name, one.share, one.arms[1].weight) == ("explore-more", 0.2, 3)
    assert tuned(FeedSettings(topic_share=0.4), one.arms[1]).exploration_every == 5
    assert tuned(FeedSettings(topic_share=0.4), one.arms[1]).topic_share == 0.4
    assert one.guardrails[0].margin == 0.05


WRONG = [
    ("{", "JSON"),
    ([{"name": "x", "arms": [{"name": "alone"}]}], "0.arms"),
    ([{"name": "Über", "arms": arms()}], "0.name"),
    ([{"name": "x", "arms": arms(), "alfa": 1}], "0.alfa"),
    ([{"name": "x", "arms": arms(weight=0)}], "0.arms.1.weight"),
    ([{"name": "x", "arms": arms(weight="NaN")}], "0.arms.1.weight"),
    ([{"name": "x", "arms": arms(settings={"seen_days": 1})}], "seen_days"),
    ([{"name": "x", "arms": arms(settings={"exploration_every": 1})}], "exploration_every = 1"),
    ([{"name": "x", "arms": arms(settings={"author_gap": 2.5})}], "author_gap = 2.5"),
    ([{"name": "x", "arms": arms(source_weights={"nowhere": 1})}], "nowhere"),
    ([{"name": "x", "arms": arms(value_weights={"love": 1})}], "love"),
    ([{"name": "x", "arms": arms(), "metric": "joy"}], "joy"),
    ([{"name": "x", "arms": arms(), "guardrails": {"joy": 1}}], "joy"),
    ([{"name": "x", "arms": [{"name": "a"}, {"name": "a"}]}], "a is there twice"),
    ([{"name": "x", "arms": arms()}, {"name": "x", "arms": arms()}], "x is there twice"),
    (
        [
            {"name": "x", "arms": arms(settings={"topic_share": 0.2})},
            {"name": "y", "arms": arms(settings={"topic_share": 0.3})},
        ],
        "y.other changes topic_share, and so does x",
    ),
]


@pytest.mark.parametrize(("declared", "named"), WRONG)
def test_a_mistake_names_the_file_and_the_place(tmp_path: Path, declared: object, named: str) -> None:
    with pytest.raises(BadExperiments) as caught:
        read(tmp_path, declared)
    assert named in str(caught.value)
    assert "experiments.json" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadExperiments, match="nowhere"):
        read_experiments(tmp_path / "nowhere.json", FeedSettings())

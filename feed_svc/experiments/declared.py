"""The operator's declaration of experiments, a JSON file, read strictly: a mistake stops the start and says where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from feed_svc.experiments.outcomes import METRICS
from feed_svc.experiments.store import Arm, Experiment, Guardrail
from feed_svc.feeds.sources import WEIGHTS as SOURCE_WEIGHTS
from feed_svc.settings import FeedSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
TUNABLE = frozenset(
    ("tail_candidates", "rank_candidates", "recent_interactions", "exploration_every", "author_gap", "topic_share")
) | {"young_hours", "exploration_growth_share", "first_videos", "freshness", "curiosity"}
"""Settings of the feed that an arm may change: those that are read for each build or page."""
VALUE_WEIGHTS = frozenset(("like", "comment", "share", "completion", "watch", "negative", "affinity"))
"""Names of the value formula's weights, see `rank_svc/ranking/value.py`."""


class BadExperiments(ValueError):
    """The declaration can't be used; the message names the file, the place and what is wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Arm(_Strict):
    name: Name
    weight: float = Field(default=1.0, gt=0)
    settings: dict[str, float] = {}
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    value_weights: dict[str, float] = {}


class _Experiment(_Strict):
    name: Name
    arms: list[_Arm] = Field(min_length=2, max_length=10)
    salt: str = Field(default="", max_length=64)
    share: float = Field(default=1.0, gt=0, le=1)
    metric: str = "watch_minutes"
    window_hours: float = Field(default=24.0, gt=0, le=24 * 90)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    effect: float = Field(default=0.2, gt=0, le=5)
    guardrails: dict[str, Annotated[float, Field(ge=0)]] = {}


_FILE = TypeAdapter(list[_Experiment])


def read_experiments(path: Path, settings: FeedSettings) -> tuple[Experiment, ...]:
    """The experiments of a file. `settings`: what arms change. Raises `BadExperiments`."""
    try:
        found = _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise BadExperiments(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in wrong["loc"])
        raise BadExperiments(f"{path}: {place}: {wrong['msg']}") from None
    try:
        experiments = tuple(_made(one) for one in found)
        check(experiments, settings)
    except ValueError as error:
        raise BadExperiments(f"{path}: {error}") from None
    return experiments


def check(experiments: tuple[Experiment, ...], settings: FeedSettings) -> None:
    """Raise ValueError for names that mean nothing, values that the settings refuse, and two experiments that change
    the same thing (a viewer may be in both)."""
    _unique("experiment", [one.name for one in experiments])
    changed: dict[str, str] = {}
    for one in experiments:
        _unique(f"{one.name}: arm", [arm.name for arm in one.arms])
        _known(f"{one.name}: metric", [one.metric, *(g.metric for g in one.guardrails)], METRICS)
        for arm in one.arms:
            where = f"{one.name}.{arm.name}"
            _known(f"{where}: settings", arm.settings, TUNABLE)
            _known(f"{where}: source_weights", arm.source_weights, SOURCE_WEIGHTS)
            _known(f"{where}: value_weights", arm.value_weights, VALUE_WEIGHTS)
            tuned(settings, arm, where)
            for thing in (*arm.settings, *arm.source_weights, *arm.value_weights):
                if changed.setdefault(thing, one.name) != one.name:
                    raise ValueError(f"{where} changes {thing}, and so does {changed[thing]}")


def tuned(settings: FeedSettings, arm: Arm, where: str = "") -> FeedSettings:
    """The settings as an arm changes them. Raises ValueError for a value that the setting refuses."""
    try:
        return FeedSettings(**{**settings.model_dump(), **arm.settings})
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ValueError(f"{where}: settings.{wrong['loc'][0]} = {wrong['input']}: {wrong['msg']}") from None


def _made(one: _Experiment) -> Experiment:
    return Experiment(
        one.name,
        tuple(Arm(a.name, a.weight, a.settings, a.source_weights, a.value_weights) for a in one.arms),
        salt=one.salt,
        share=one.share,
        metric=one.metric,
        window_hours=one.window_hours,
        alpha=one.alpha,
        effect=one.effect,
        guardrails=tuple(Guardrail(metric, margin) for metric, margin in one.guardrails.items()),
    )


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name} is there twice")


def _known(what: str, names: object, valid: object) -> None:
    assert hasattr(names, "__iter__") and hasattr(valid, "__iter__")
    if unknown := sorted(set(names) - set(valid)):
        raise ValueError(f"{what}: unknown {', '.join(unknown)}; valid: {', '.join(sorted(valid))}")

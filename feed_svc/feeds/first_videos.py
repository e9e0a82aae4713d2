"""The first videos of somebody of whom nothing is known: as unlike one another as good ones can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

GOOD = 60
"""The first ones are taken from this many, the best by score."""


def tell_apart(ranked: Sequence[tuple[int, Sequence[str]]], count: int) -> list[int]:
    """Up to `count` ids of `ranked` (id and hashtags, best first) by greedy max-min diversity (Gonzalez, "Clustering to
    minimize the maximum intercluster distance", 1985): the best one, then each time the one whose nearest chosen
    neighbour is furthest, by Jaccard distance of hashtags; equal ones by rank. One without hashtags tells nothing of a
    taste: it comes last."""
    left = [(video_id, frozenset(tags)) for video_id, tags in ranked[:GOOD]]
    chosen: list[tuple[int, frozenset[str]]] = []
    while left and len(chosen) < count:
        best = max(range(len(left)), key=lambda place: (_nearest(left[place][1], chosen), -place))
        chosen.append(left.pop(best))
    return [video_id for video_id, _ in chosen]


def _nearest(tags: frozenset[str], chosen: Sequence[tuple[int, frozenset[str]]]) -> float:
    if not tags:
        return -1.0
    return min((1 - len(tags & others) / len(tags | others) for _, others in chosen), default=1.0)


def lifted(scores: Mapping[int, float], first: Sequence[int]) -> dict[int, float]:
    """Scores with `first` in front of all others, in their order, further apart than any decay."""
    top = max(scores.values(), default=0.0)
    return {**scores, **{video_id: top + len(first) - place for place, video_id in enumerate(first)}}

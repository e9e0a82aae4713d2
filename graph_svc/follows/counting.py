"""Numbers of followers and followees: the graph's, with the viewer's own edges as truth has them."""

from __future__ import annotations

from dataclasses import dataclass

from graph_svc.follows.store import Degree, Relation


@dataclass(frozen=True, slots=True)
class FollowCounts:
    """Numbers of one account."""

    user_id: int
    followers: int
    followees: int


def counts_of(degree: Degree, relation: Relation) -> FollowCounts:
    """The numbers of another account, so that its viewer reads their own writes: what the graph holds of their edges is
    exchanged for what truth says."""
    return FollowCounts(
        relation.user_id,
        followers=max(0, degree.followers - degree.from_viewer + relation.follows),
        followees=max(0, degree.followees - degree.to_viewer + relation.followed_by),
    )


def own_counts(user_id: int, degree: Degree, followees: int) -> FollowCounts:
    """The viewer's own numbers: `followees` from truth; followers whom the viewer has blocked are gone already."""
    return FollowCounts(user_id, followers=max(0, degree.followers - degree.severed), followees=followees)

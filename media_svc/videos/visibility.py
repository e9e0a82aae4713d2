"""Who may see a video: decided here and nowhere else."""

from __future__ import annotations

from media_svc.videos.store import Relation, VideoState, Visibility

AUTHOR_ALONE, FOLLOWERS_TOO, EVERYBODY = 0, 1, 2
"""Audiences, as stored beside an author's videos so that lists are paged without gaps."""

_AUDIENCES = {
    Visibility.PRIVATE: AUTHOR_ALONE,
    Visibility.FOLLOWERS: FOLLOWERS_TOO,
    Visibility.PUBLIC: EVERYBODY,
}


def audience_of(state: VideoState, visibility: Visibility) -> int:
    """Whom a video is for, blocks aside."""
    return _AUDIENCES[visibility] if state is VideoState.READY else AUTHOR_ALONE


def needs_relation(viewer_id: int, author_id: int, state: VideoState, visibility: Visibility) -> bool:
    """Whether `may_view` depends on how the viewer stands to the author."""
    others = viewer_id != 0 and viewer_id != author_id
    return others and audience_of(state, visibility) != AUTHOR_ALONE


def may_view(
    viewer_id: int, author_id: int, relation: Relation | None, state: VideoState, visibility: Visibility
) -> bool:
    """Whether a viewer (0: nobody is logged in) may see a video. An unknown relation of a logged-in viewer: no."""
    if state is VideoState.DELETED:
        return False
    if viewer_id and viewer_id == author_id:
        return True
    least = least_audience(viewer_id, author_id, relation)
    return least is not None and audience_of(state, visibility) >= least


def least_audience(viewer_id: int, author_id: int, relation: Relation | None) -> int | None:
    """The smallest audience of an author's videos that a viewer belongs to; None: of none."""
    if not viewer_id:
        return EVERYBODY
    if viewer_id == author_id:
        return AUTHOR_ALONE
    if relation is None or relation.blocks or relation.blocked_by:
        return None
    return FOLLOWERS_TOO if relation.follows else EVERYBODY

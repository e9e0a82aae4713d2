"""Hashtags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.types.fields import resolved
from gateway.types.node import Node
from gateway.types.page import After, Connection, First, page, page_size
from gateway.types.refs import VideoRef
from gateway.types.scalars import count
from gateway.types.video import Video
from reelgraph.feed.v1 import search_pb2


@strawberry.type(description="A hashtag that public videos carry.")
class Hashtag(Node):
    """Known by its normalised name."""

    name: str = strawberry.field(description="Normalised, without `#`.")
    video_count: int | None = strawberry.field(description="How many public videos carry it.")

    @classmethod
    def of(cls, hashtag: search_pb2.Hashtag) -> Hashtag:
        """From its message."""
        return cls(
            id=ids.encode_name(ids.Kind.HASHTAG, hashtag.name),
            name=hashtag.name,
            video_count=count(hashtag.video_count),
        )

    @resolved("Public videos that carry it, newest first.")
    async def videos(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[VideoRef] | None:
        context = info.context
        request = search_pb2.ListHashtagVideosRequest(
            name=self.name, page_size=page_size(first), page_token=after or ""
        )
        answer: search_pb2.ListHashtagVideosResponse = await context.rpc(
            context.clients.search.ListHashtagVideos, request
        )
        return await videos_page(info, answer.entries, has_next=bool(answer.next_page_token), after=after)


class VideoEntry(Protocol):
    """An entry of an upstream list of videos."""

    @property
    def video_id(self) -> int: ...
    @property
    def page_token(self) -> str: ...


async def videos_page(
    info: Info, entries: Sequence[VideoEntry], *, has_next: bool, after: str | None
) -> Connection[Video]:
    """A page of videos; those that VideoService does not answer are left out."""
    videos = await info.context.loaders.show_videos([entry.video_id for entry in entries])
    found = [(video, entry.page_token) for video, entry in zip(videos, entries, strict=True)]
    return page(found, has_next=has_next, after=after)

"""Group `feed.search`: videos and accounts into the index and the hashtags."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.search.commands import SearchCommands
from feed_svc.search.store import Account, PublishedVideo
from reelgraph.events.v1.account_pb2 import AccountProfile
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoFacts
from svc_kit.bus.runner import Envelope

GROUP = "feed.search"
TOPICS = ("video", "account")


class SearchHandler:
    """Applies events; a repetition changes nothing."""

    def __init__(self, commands: SearchCommands) -> None:
        self._commands = commands

    async def handle(self, batch: Sequence[Envelope]) -> None:
        videos = [video for envelope in batch if (video := video_of(envelope.event))]
        accounts = [account for envelope in batch if (account := account_of(envelope.event))]
        if videos or accounts:
            await self._commands.apply(videos, accounts)


def video_of(event: Event) -> PublishedVideo | None:
    """What an event says of a published video."""
    version = event.entity_version
    match event.WhichOneof("body"):
        case "video_published":
            return _published(event.video_published.video, version)
        case "video_updated":
            return _published(event.video_updated.video, version)
        case "video_deleted":
            return PublishedVideo(event.video_deleted.video_id, event.video_deleted.author_id, version, shown=False)
    return None


def _published(facts: VideoFacts, version: int) -> PublishedVideo:
    return PublishedVideo(
        facts.video_id,
        facts.author_id,
        version,
        facts.visibility == "PUBLIC",
        facts.caption,
        tuple(facts.hashtags),
        facts.published_at_ms,
    )


def account_of(event: Event) -> Account | None:
    """What an event says of an account."""
    version = event.entity_version
    match event.WhichOneof("body"):
        case "account_created":
            return _profile(event.account_created.profile, version)
        case "account_updated":
            return _profile(event.account_updated.profile, version)
        case "account_deleted":
            return Account(event.account_deleted.account_id, version, gone=True)
    return None


def _profile(profile: AccountProfile, version: int) -> Account:
    return Account(profile.account_id, version, profile.username, profile.display_name)

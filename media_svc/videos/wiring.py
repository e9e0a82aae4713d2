"""The videos domain, composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from media_svc.context import MediaContext
from media_svc.uploads.stores.sql import SqlUploadStore
from media_svc.videos.commands import VideoCommands
from media_svc.videos.queries import VideoQueries
from media_svc.videos.server import VideoServicer
from media_svc.videos.stores.remembered import RememberedVideos
from media_svc.videos.stores.rpc import RpcRelations
from media_svc.videos.stores.sql import SqlVideoStore
from media_svc.videos.worker import GROUP, TOPICS, VideoEvents
from reelgraph.media.v1 import videos_pb2, videos_pb2_grpc
from svc_kit.bus.runner import EventWorker
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job


@dataclass(frozen=True, slots=True)
class Videos:
    """The wired domain."""

    servicer: Servicer
    workers: Sequence[Job]


def build_videos(context: MediaContext) -> Videos:
    """`VideoService`, and what other services' events cause."""
    platform = context.platform
    relations = RpcRelations(platform.peer, platform.channels.graph)
    store = RememberedVideos(SqlVideoStore(context.db), context.known_videos, context.play_names)
    queries = VideoQueries(store, relations, TokenSigner(context.secret, "pages of videos"))
    commands = VideoCommands(
        context.intake,
        queries,
        replies=context.uow,
        ids=platform.ids,
        clock=platform.clock,
        changed=context.changed,
    )
    events = VideoEvents(commands, SqlUploadStore(context.db))
    worker = EventWorker(platform.bus, GROUP, TOPICS, events, platform.clock)
    servicer = Servicer(
        videos_pb2.DESCRIPTOR.services_by_name["VideoService"],
        VideoServicer(commands, queries, context.urls),
        videos_pb2_grpc.add_VideoServiceServicer_to_server,
    )
    return Videos(servicer, [Job(worker.name, worker.run)])

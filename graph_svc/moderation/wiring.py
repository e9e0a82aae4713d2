"""The moderation domain, composed."""

from __future__ import annotations

from graph_svc.context import Domain, GraphContext
from graph_svc.moderation.commands import ModerationCommands
from graph_svc.moderation.queries import ModerationQueries
from graph_svc.moderation.server import ModerationServicer
from graph_svc.moderation.store import CommentRemover
from graph_svc.moderation.stores.rpc import RpcSubjectDirectory
from graph_svc.moderation.stores.sql import SqlReportStore
from reelgraph.graph.v1 import moderation_pb2, moderation_pb2_grpc
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer


async def build_moderation(context: GraphContext, remove_comment: CommentRemover) -> Domain:
    """`ModerationService`; `remove_comment` is engagement's."""
    platform = context.platform
    store = SqlReportStore(context.uow)
    channels = platform.channels
    commands = ModerationCommands(
        store,
        context.uow,
        ids=platform.ids,
        clock=platform.clock,
        subjects=RpcSubjectDirectory(platform.peer, graph=channels.graph, media=channels.media),
        remove_comment=remove_comment,
    )
    pages = TokenSigner(platform.settings.secret.get_secret_value().encode(), "pages of reports")
    return Domain(
        servicers=[
            Servicer(
                moderation_pb2.DESCRIPTOR.services_by_name["ModerationService"],
                ModerationServicer(commands, ModerationQueries(store, pages)),
                moderation_pb2_grpc.add_ModerationServiceServicer_to_server,
            )
        ]
    )

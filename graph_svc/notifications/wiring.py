"""The notifications domain, composed."""

from __future__ import annotations

from typing import Protocol

from graph_svc.context import Domain, GraphContext
from graph_svc.notifications.commands import NotificationCommands
from graph_svc.notifications.queries import NotificationQueries
from graph_svc.notifications.server import NotificationServicer
from graph_svc.notifications.store import Actors, NotificationLog
from graph_svc.notifications.stores import SCHEMES
from graph_svc.notifications.stores.sql import SqlMarkStore
from graph_svc.notifications.worker import GROUP, TOPICS, NotificationHandler
from reelgraph.graph.v1 import notifications_pb2, notifications_pb2_grpc
from svc_kit.backends import resolve
from svc_kit.bus.runner import EventWorker
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job
from svc_kit.wakeups import Wakeups


class OpenLog(NotificationLog, Protocol):
    """An opened log."""

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""

    async def close(self) -> None:
        """Let go of it."""


async def build_notifications(context: GraphContext, actors: Actors, wakeups: Wakeups) -> Domain:
    """`NotificationService` and the worker that writes its log."""
    platform = context.platform
    log, marks = await _open_log(context), SqlMarkStore(context.uow)
    tokens = TokenSigner(platform.settings.secret.get_secret_value().encode(), "pages of notifications")
    queries = NotificationQueries(log, marks, actors, wakeups, tokens, platform.clock)
    commands = NotificationCommands(marks, log, queries, context.uow)
    worker = EventWorker(platform.bus, GROUP, TOPICS, NotificationHandler(log, actors, wakeups), platform.clock)
    return Domain(
        servicers=[
            Servicer(
                notifications_pb2.DESCRIPTOR.services_by_name["NotificationService"],
                NotificationServicer(commands, queries),
                notifications_pb2_grpc.add_NotificationServiceServicer_to_server,
            )
        ],
        workers=[Job(GROUP, worker.run)],
        checks={"notification log": log.check},
    )


async def _open_log(context: GraphContext) -> OpenLog:
    """The log that `REELGRAPH_WIDE_URL` names; without one, in the service's own database."""
    settings = context.platform.settings
    own_url = settings.service_db_url("graph")
    url = settings.wide_url or own_url
    opened: OpenLog = await resolve("REELGRAPH_WIDE_URL", url, SCHEMES).open(
        *(url, context.db if url == own_url else None),
        clock=context.platform.clock,
        keep_days=context.settings.notification_days,
    )
    context.stack.push_async_callback(opened.close)
    return opened

"""The schema, put together."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry
from graphql import GraphQLError, GraphQLSchema
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionContext

from gateway.mutations.accounts import AccountMutations
from gateway.mutations.comments import CommentMutations
from gateway.mutations.follows import FollowMutations
from gateway.mutations.likes import LikeMutations
from gateway.mutations.notifications import NotificationMutations
from gateway.mutations.uploads import UploadMutations
from gateway.mutations.videos import VideoMutations
from gateway.mutations.watches import WatchMutations
from gateway.subscriptions.root import Subscription
from gateway.types.comment import Comment
from gateway.types.hashtag import Hashtag
from gateway.types.notification import Notification
from gateway.types.query import Query
from gateway.types.scalars import scalars
from gateway.types.session import Session
from gateway.types.upload import Upload
from gateway.types.user import User
from gateway.types.video import Video
from gateway.types.viewer import Viewer


@strawberry.type(description="Everything that can be done. What the input or the state causes is in `userErrors`.")
class Mutation(
    AccountMutations,
    FollowMutations,
    UploadMutations,
    VideoMutations,
    LikeMutations,
    CommentMutations,
    WatchMutations,
    NotificationMutations,
):
    """By domain."""


class Schema(strawberry.Schema):
    """Errors are formatted and logged by the transports, in one place."""

    @property
    def graphql(self) -> GraphQLSchema:
        """The schema as graphql-core knows it."""
        return self._schema

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Strawberry's own log would show tracebacks of users' mistakes."""


def build_schema(extensions: Sequence[type[SchemaExtension]] = ()) -> Schema:
    """The schema; `extensions` are made anew for each operation."""
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Comment, Hashtag, Notification, Session, Upload, User, Video, Viewer],
        config=StrawberryConfig(scalar_map=scalars()),
        extensions=list(extensions),
    )
    mutations = schema.graphql.mutation_type
    assert mutations is not None
    for field in mutations.fields.values():
        # Said once for all: each input describes itself.
        field.args["input"].description = "What is to be done, and under which key."
    return schema

"""The schema is what its golden file says, and says what everything means."""

from __future__ import annotations

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    is_introspection_type,
    is_specified_scalar_type,
)

from gateway.schema_file import PATH, schema_text

MUTATIONS = {
    *("signUp", "logIn", "refreshSession", "logOut", "revokeSession", "updateProfile", "setInterests"),
    *("followUser", "unfollowUser", "blockUser", "unblockUser", "muteUser", "unmuteUser"),
    *("beginUpload", "completeUpload", "abortUpload", "publishVideo", "updateVideo", "deleteVideo"),
    *("likeVideo", "unlikeVideo", "markNotInterested", "shareVideo"),
    *("addComment", "likeComment", "unlikeComment", "deleteComment", "recordWatches", "markNotificationsRead"),
}


def golden() -> GraphQLSchema:
    return build_schema(PATH.read_text())


def test_the_golden_file_is_up_to_date() -> None:
    assert PATH.read_text() == schema_text(), "run `python -m gateway.schema_file` and look at the difference"


def test_everything_has_a_description() -> None:
    silent = []
    for name, kind in golden().type_map.items():
        if is_introspection_type(kind) or is_specified_scalar_type(kind):
            continue
        silent += [name] if not kind.description else []
        if isinstance(kind, GraphQLEnumType):
            silent += [f"{name}.{value}" for value, found in kind.values.items() if not found.description]
        if isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType)):
            for field, found in kind.fields.items():
                silent += [f"{name}.{field}"] if not found.description else []
                silent += [f"{name}.{field}({arg})" for arg, argument in found.args.items() if not argument.description]
        if isinstance(kind, GraphQLInputObjectType):
            silent += [f"{name}.{field}" for field, found in kind.fields.items() if not found.description]
    assert silent == []


def test_every_mutation_takes_an_input_with_a_key_and_answers_nullable_fields_and_user_errors() -> None:
    schema = golden()
    assert schema.mutation_type is not None
    assert set(schema.mutation_type.fields) == MUTATIONS
    for name, field in schema.mutation_type.fields.items():
        capital = f"{name[0].upper()}{name[1:]}"
        assert str(field.args["input"].type) == f"{capital}Input!"
        assert str(field.type) == f"{capital}Payload!"
        given, payload = schema.type_map[f"{capital}Input"], schema.type_map[f"{capital}Payload"]
        assert isinstance(given, GraphQLInputObjectType)
        assert isinstance(payload, GraphQLObjectType)
        assert str(given.fields["idempotencyKey"].type) == "String"
        assert str(payload.fields["userErrors"].type) == "[UserError!]!"
        assert [f for f, found in payload.fields.items() if str(found.type).endswith("!")] == ["userErrors"]


def test_root_fields_and_what_other_services_answer_are_nullable() -> None:
    schema = golden()
    assert schema.query_type is not None
    required = {name for name, field in schema.query_type.fields.items() if str(field.type).endswith("!")}
    assert required == {"nodes"}
    video, user = schema.type_map["Video"], schema.type_map["User"]
    assert isinstance(video, GraphQLObjectType)
    assert isinstance(user, GraphQLObjectType)
    for name in ("author", "likeCount", "commentCount", "shareCount", "viewCount", "viewerHasLiked", "comments"):
        assert not str(video.fields[name].type).endswith("!"), name
    for name in ("followerCount", "videoCount", "likeCount", "viewerFollows", "followsViewer", "videos", "followers"):
        assert not str(user.fields[name].type).endswith("!"), name

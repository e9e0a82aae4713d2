"""Profiles, interests and reading accounts."""

from __future__ import annotations

from typing import Any

import pytest

from reelgraph.graph.v1 import accounts_pb2 as pb
from svc_kit.caller import Caller
from svc_kit.errors import AppError, Reason, UserCode
from tests.graph.accounts.conftest import World, viewer
from tests.support.graph_peers import fake_media
from tests.support.platform import emitted

KEY = "0123456789abcdef"


async def test_only_what_is_given_changes_and_the_event_has_the_next_version(world: World) -> None:
    anna = await world.sign_up("anna", display_name="Anna")
    answer = await world.call("UpdateProfile", pb.UpdateProfileRequest(bio="a\nb"), viewer(anna))
    assert (answer.account.display_name, answer.account.bio) == ("Anna", "a\nb")
    answer = await world.call("UpdateProfile", pb.UpdateProfileRequest(display_name="A", bio=""), viewer(anna))
    assert (answer.account.display_name, answer.account.bio) == ("A", "")
    events = await emitted(world.platform, "graph")
    assert [(e.WhichOneof("body"), e.entity_version) for e in events] == [
        ("account_created", 1),
        ("account_updated", 2),
        ("account_updated", 3),
    ]
    assert events[2].account_updated.profile.display_name == "A"


async def test_what_changes_nothing_emits_nothing(world: World) -> None:
    anna = await world.sign_up("anna", display_name="Anna")
    for request in (pb.UpdateProfileRequest(), pb.UpdateProfileRequest(display_name="Anna", avatar_upload_id=0)):
        await world.call("UpdateProfile", request, viewer(anna))
    assert len(await emitted(world.platform, "graph")) == 1


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"display_name": ""}, "display_name", UserCode.TOO_SHORT),
        ({"display_name": "x" * 51}, "display_name", UserCode.TOO_LONG),
        ({"display_name": "\t\t"}, "display_name", UserCode.TOO_SHORT),
        ({"bio": "x" * 161}, "bio", UserCode.TOO_LONG),
        ({"bio": "a\x07b"}, "bio", UserCode.INVALID),
        ({"avatar_upload_id": -1}, "avatar_upload_id", UserCode.INVALID),
    ],
)
async def test_bad_input_names_its_field(world: World, fields: dict[str, Any], field: str, code: UserCode) -> None:
    anna = await world.sign_up()
    with pytest.raises(AppError) as refused:
        await world.call("UpdateProfile", pb.UpdateProfileRequest(**fields), viewer(anna))
    assert [(v.field, v.code) for v in refused.value.violations] == [(field, code)]


async def test_an_avatar_is_an_upload_of_ones_own_that_media_has_made_public(world: World) -> None:
    anna = await world.sign_up()
    async with fake_media(world.platform, world.authenticator) as media:
        media.avatars[anna.account.id, 5] = "http://media.test/a/5.webp"
        answer = await world.call("UpdateProfile", pb.UpdateProfileRequest(avatar_upload_id=5), viewer(anna))
        assert answer.account.avatar_url == "http://media.test/a/5.webp"
        with pytest.raises(AppError) as refused:
            request = pb.UpdateProfileRequest(avatar_upload_id=6, bio="half")
            await world.call("UpdateProfile", request, viewer(anna))
    assert [(v.field, v.code) for v in refused.value.violations] == [("avatar_upload_id", UserCode.NOT_FOUND)]
    read = await world.call("BatchGetAccounts", pb.BatchGetAccountsRequest(ids=[anna.account.id]))
    assert read.accounts[0].bio == ""
    answer = await world.call("UpdateProfile", pb.UpdateProfileRequest(avatar_upload_id=0), viewer(anna))
    assert answer.account.avatar_url == ""


async def test_the_same_key_answers_as_at_first_although_the_profile_moved_on(world: World) -> None:
    anna = viewer(await world.sign_up())
    first = await world.call("UpdateProfile", pb.UpdateProfileRequest(bio="one"), anna, KEY)
    await world.call("UpdateProfile", pb.UpdateProfileRequest(bio="two"), anna)
    assert await world.call("UpdateProfile", pb.UpdateProfileRequest(bio="one"), anna, KEY) == first
    with pytest.raises(AppError) as refused:
        await world.call("UpdateProfile", pb.UpdateProfileRequest(bio="three"), anna, KEY)
    assert refused.value.user_code is UserCode.KEY_REUSED
    assert len(await emitted(world.platform, "graph")) == 3
    world.clock.advance(24 * 3600)
    fresh = viewer(await world.log_in())
    answer = await world.call("UpdateProfile", pb.UpdateProfileRequest(bio="three"), fresh, KEY)
    assert answer.account.bio == "three"


async def test_keys_of_two_viewers_do_not_meet(world: World) -> None:
    for name in ("anna", "boris"):
        somebody = viewer(await world.sign_up(name))
        answer = await world.call("UpdateProfile", pb.UpdateProfileRequest(bio=name), somebody, KEY)
        assert answer.account.bio == name


async def test_interests_are_normalised_replaced_and_told_once(world: World) -> None:
    anna = await world.sign_up()
    request = pb.SetInterestsRequest(hashtags=["#Cats", "cats", " ＃Straße ", "日本_1"])
    answer = await world.call("SetInterests", request, viewer(anna))
    assert list(answer.hashtags) == ["cats", "strasse", "日本_1"]
    await world.call("SetInterests", pb.SetInterestsRequest(hashtags=["CATS", "strasse", "日本_1"]), viewer(anna))
    asked = pb.BatchGetInterestsRequest(account_ids=[404, anna.account.id])
    (found,) = (await world.call("BatchGetInterests", asked)).interests
    assert (found.account_id, list(found.hashtags)) == (anna.account.id, ["cats", "strasse", "日本_1"])
    await world.call("SetInterests", pb.SetInterestsRequest(), viewer(anna))
    assert not (await world.call("BatchGetInterests", asked)).interests
    events = await emitted(world.platform, "graph")
    told = [(e.entity_version, list(e.account_interests_set.hashtags)) for e in events[1:]]
    assert told == [(2, ["cats", "strasse", "日本_1"]), (3, [])]


async def test_every_wrong_hashtag_is_named(world: World) -> None:
    anna = await world.sign_up()
    with pytest.raises(AppError) as refused:
        request = pb.SetInterestsRequest(hashtags=["ok", "two words", "#", "x" * 101])
        await world.call("SetInterests", request, viewer(anna))
    assert [v.field for v in refused.value.violations] == ["hashtags.1", "hashtags.2", "hashtags.3"]
    with pytest.raises(AppError) as refused:
        await world.call("SetInterests", pb.SetInterestsRequest(hashtags=["x"] * 51), viewer(anna))
    assert refused.value.user_code is UserCode.TOO_LONG


async def test_accounts_are_found_by_name_in_the_order_asked(world: World) -> None:
    anna, boris = await world.sign_up("Anna"), await world.sign_up("Boris")
    request = pb.BatchGetAccountsByUsernameRequest(usernames=["BORIS", "nobody", "anna", "boris"])
    found = (await world.call("BatchGetAccountsByUsername", request, Caller())).accounts
    assert list(found) == [boris.account, anna.account]


async def test_all_accounts_are_listed_page_by_page(world: World) -> None:
    made = [(await world.sign_up(f"user{n}")).account.id for n in range(5)]
    listed, token = [], ""
    while True:
        page = await world.call("ListAccounts", pb.ListAccountsRequest(page_size=2, page_token=token))
        listed += [account.id for account in page.accounts]
        token = page.next_page_token
        if not token:
            break
    assert listed == made
    for bad in (pb.ListAccountsRequest(page_token="nonsense"), pb.ListAccountsRequest(page_size=-1)):
        with pytest.raises(AppError) as refused:
            await world.call("ListAccounts", bad)
        assert refused.value.reason is Reason.BAD_USER_INPUT

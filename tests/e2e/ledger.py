"""A client that keeps its own book of what the server acknowledged, and tries again, with the same key, what it did
not."""

from __future__ import annotations

import random
import secrets
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from launcher.demo.client import ApiClient, Json, RequestFailed

COUNTS = """query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Video
  { id likeCount commentCount shareCount viewCount viewerHasLiked } } }"""


@dataclass(slots=True)
class Operation:
    """One mutation, the same each time it is tried."""

    person: str
    name: str
    fields: str
    input: Json
    book: Callable[[Ledger], None]


@dataclass(slots=True)
class Ledger:
    """What must be true, by what was acknowledged."""

    dice: random.Random
    likes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    comments: Counter[str] = field(default_factory=Counter)
    shares: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    follows: set[tuple[str, str]] = field(default_factory=set)
    pending: list[Operation] = field(default_factory=list)
    acknowledged: int = 0

    def draw(self, person: str, people: dict[str, ApiClient], videos: list[str]) -> Operation:
        """A random operation of `person`."""
        video = self.dice.choice(videos)
        key = {"idempotencyKey": secrets.token_hex(16)}
        kind = self.dice.choice(("like", "unlike", "comment", "share", "watch", "follow", "unfollow"))
        if kind in ("follow", "unfollow"):
            other = self.dice.choice([name for name in people if name != person])
            book = self.follows.add if kind == "follow" else self.follows.discard
            given = {"userId": people[other].user_id, **key}
            return Operation(person, f"{kind}User", "user { id }", given, lambda _: book((person, other)))
        if kind == "watch":
            watch = {"watchId": str(uuid.uuid4()), "videoId": video, "watchedMs": 900}
            return Operation(
                person,
                "recordWatches",
                "acceptedCount",
                {"watches": [watch], **key},
                lambda book: book.views.update([video]),
            )
        names = {"like": "likeVideo", "unlike": "unlikeVideo", "comment": "addComment", "share": "shareVideo"}
        extra: dict[str, Json] = {"comment": {"text": "ledger"}, "share": {"channel": "LINK"}}
        more = extra.get(kind, {})
        books: dict[str, Callable[[Ledger], None]] = {
            "like": lambda book: book.likes[video].add(person),
            "unlike": lambda book: book.likes[video].discard(person),
            "comment": lambda book: book.comments.update([video]),
            "share": lambda book: book.shares.update([video]),
        }
        fields = "comment { id }" if kind == "comment" else "video { id }"
        return Operation(person, names[kind], fields, {"videoId": video, **more, **key}, books[kind])

    async def attempt(self, operation: Operation, people: dict[str, ApiClient]) -> bool:
        """Try an operation; booked when acknowledged, else kept to be tried again. Raises what is neither."""
        try:
            await people[operation.person].mutate(operation.name, operation.fields, **operation.input)
        except (httpx.TransportError, ValueError):
            self.pending.append(operation)
            return False
        except RequestFailed as error:
            if not set(error.codes) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"}:
                raise
            self.pending.append(operation)
            return False
        operation.book(self)
        self.acknowledged += 1
        return True

    async def settle(self, people: dict[str, ApiClient]) -> None:
        """Try what is pending again, each person's in order; raises AssertionError when something still fails."""
        pending, self.pending = self.pending, []
        for operation in pending:
            assert await self.attempt(operation, people), f"{operation.name} fails on a healthy server"

    async def differences(self, people: dict[str, ApiClient], videos: list[str]) -> list[str]:
        """Where the server's counts differ from the book."""
        wrong = []
        reader = next(iter(people.values()))
        for node in (await reader.query(COUNTS, {"ids": videos}))["nodes"]:
            video = node["id"]
            expected = {
                "likeCount": len(self.likes[video]),
                "commentCount": self.comments[video],
                "shareCount": self.shares[video],
                "viewCount": self.views[video],
            }
            wrong += [f"{video} {k}: {node[k]}, not {v}" for k, v in expected.items() if node[k] != v]
        for name, client in people.items():
            data = await client.query("{ viewer { user { followerCount followingCount } } }")
            got = data["viewer"]["user"]
            followers = sum(1 for _, followee in self.follows if followee == name)
            following = sum(1 for follower, _ in self.follows if follower == name)
            if (got["followerCount"], got["followingCount"]) != (followers, following):
                wrong.append(f"{name} follows: {got}, not {followers} and {following}")
        return wrong

"""Inboxes as sorted sets, `{u<id mod 1024>}:inbox:<id>`, one Lua batch a bucket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from redis.asyncio import Redis

from feed_svc.fanout.store import Inbox, Post
from svc_kit.cache import bucket, cache_errors

KEYS_A_BATCH = 500

# Only inboxes whose state key exists take a push: an absent one is filled by pull, and a lone push would look complete.
_PUSH = """
local reached = 0
for i = 1, #KEYS, 2 do
  local left = redis.call('PTTL', KEYS[i + 1])
  if left > 0 then
    redis.call('ZADD', KEYS[i], ARGV[1], ARGV[2])
    redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -tonumber(ARGV[3]) - 1)
    redis.call('PEXPIRE', KEYS[i], left)
    reached = reached + 1
  end
end
return reached
"""
_WITHDRAW = "for i = 1, #KEYS, 2 do redis.call('ZREM', KEYS[i], ARGV[1]) end return 0"
_READ = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('ZREVRANGE', KEYS[1], 0, -1, 'WITHSCORES')
"""
_FILL = """
for i = 4, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[3]) - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""
_BEGIN = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[2], 'filling', 'PX', ARGV[1]) return 1"
FILLING_MS = 60_000


class RedisInboxStore:
    """`InboxStore` in Redis. An inbox is kept for `ttl_s` seconds after its last read: a push reaches active viewers
    alone."""

    def __init__(self, cache: Redis, *, ttl_s: int, entries: int) -> None:
        self._cache = cache
        self._ttl_ms = ttl_s * 1000
        self._entries = entries
        self._begin = cache.register_script(_BEGIN)
        self._push = cache.register_script(_PUSH)
        self._withdraw = cache.register_script(_WITHDRAW)
        self._read = cache.register_script(_READ)
        self._fill = cache.register_script(_FILL)

    async def read(self, user_id: int, digest: int) -> Inbox | None:
        with cache_errors():
            found = await self._read(keys=_keys(user_id), args=[str(digest), self._ttl_ms])
        if not isinstance(found, list):
            return None
        posts = [_post(member, score) for member, score in zip(found[::2], found[1::2], strict=True)]
        posts.sort(key=lambda post: post.key, reverse=True)
        return Inbox(tuple(posts), is_full=len(posts) >= self._entries)

    async def begin_fill(self, user_id: int) -> None:
        with cache_errors():
            await self._begin(keys=_keys(user_id), args=[FILLING_MS])

    async def fill(self, user_id: int, digest: int, posts: Sequence[Post]) -> None:
        members: list[str | int] = []
        for post in posts[: self._entries]:
            members += [post.published_at_ms, _member(post)]
        with cache_errors():
            await self._fill(keys=_keys(user_id), args=[str(digest), self._ttl_ms, self._entries, *members])

    async def push(self, post: Post, user_ids: Sequence[int]) -> int:
        args: list[str | int] = [post.published_at_ms, _member(post), self._entries]
        reached = 0
        for batch in _batches(user_ids):
            with cache_errors():
                async with self._cache.pipeline(transaction=False) as pipe:
                    for keys in batch:
                        await self._push(keys=keys, args=args, client=pipe)
                    reached += sum(int(count) for count in await pipe.execute())
        return reached

    async def withdraw(self, post: Post, user_ids: Sequence[int]) -> None:
        for batch in _batches(user_ids):
            with cache_errors():
                async with self._cache.pipeline(transaction=False) as pipe:
                    for keys in batch:
                        await self._withdraw(keys=keys, args=[_member(post)], client=pipe)
                    await pipe.execute()


def _keys(user_id: int) -> list[str]:
    inbox = f"{bucket(user_id)}:inbox:{user_id}"
    return [inbox, f"{inbox}:state"]


def _member(post: Post) -> str:
    return f"{post.video_id}:{post.author_id}"


def _post(member: bytes, score: bytes) -> Post:
    video_id, _, author_id = member.decode().partition(":")
    return Post(int(video_id), int(author_id), int(float(score)))


def _batches(user_ids: Sequence[int]) -> list[list[list[str]]]:
    """Keys of one bucket each, at most `KEYS_A_BATCH` viewers in one round trip."""
    batches = []
    for start in range(0, len(user_ids), KEYS_A_BATCH):
        by_bucket: defaultdict[str, list[str]] = defaultdict(list)
        for user_id in user_ids[start : start + KEYS_A_BATCH]:
            by_bucket[bucket(user_id)] += _keys(user_id)
        batches.append(list(by_bucket.values()))
    return batches

"""Inboxes as packed strings, `{u<id mod 1024>}:inbox:<id>`, pushed to by one Lua batch a bucket.

A value is a header and then posts, oldest first, 24 bytes each: milliseconds of publishing, video, author, big-endian.
The header has the same size and sorts below every post: zero, the digest of the followees or the token of a filling,
and flags: 1 filled, 2 older posts than the first one have been dropped.

A sorted set of 500 such posts takes four times the memory and three times as long to push to (`bench/fanout.py`).
"""

from __future__ import annotations

import asyncio
import random
import secrets
import struct
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from feed_svc.fanout.store import Inbox, Post
from svc_kit.bus.waiting import Backoff
from svc_kit.cache import Cache, CacheError, Call, Script, Word, bucket, cache_errors
from svc_kit.clock import Clock

KEYS_A_CALL = 200
"""A script holds up everybody else on its server: this many inboxes take it well under a millisecond."""
KEYS_A_BATCH = 1500
"""A few milliseconds of one server: far from a deadline even where it shares its processor with many others."""
BATCHES_AT_ONCE = 4
RETRIES = 4
"""Of batches, in all of a push. All that is done to an inbox may be done again."""
RETRY = Backoff(0.2, 1.0)
FILLING_MS = 60_000
SLACK = 64
"""Posts above the limit before an inbox is trimmed, so that a push rarely costs more than an append."""

_ENTRY = struct.Struct(">QQQ")
_SIZE = _ENTRY.size
_FILLED, _TRIMMED = 1, 2

# Lua compares strings by the server's locale, and its numbers hold 53 bits: keys are compared byte by byte. Where posts
# have been dropped, an older one than the first is not put in: the inbox would claim to hold all that is in between.
_PLACE = """
local function above(one, other)
  for i = 1, 16 do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a > b end
  end
  return false
end
local function with(value, entry)
  local at = #value
  while above(string.sub(value, at - 23, at), entry) do at = at - 24 end
  if string.sub(value, at - 23, at) == entry then return value end
  if at == 24 and #value > 24 and string.byte(value, 24) >= 2 then return value end
  return string.sub(value, 1, at) .. entry .. string.sub(value, at + 1)
end
local function marked(value)
  local flags = string.byte(value, 24)
  if flags >= 2 then return value end
  return string.sub(value, 1, 23) .. string.char(flags + 2) .. string.sub(value, 25)
end
local function trimmed(value, most)
  if #value <= most + 24 then return value end
  return marked(string.sub(value, 1, 24)) .. string.sub(value, -most)
end
"""

# ARGV: the post, its milliseconds, the bytes that stay, those above which it is trimmed. An absent inbox stays absent:
# it is filled by pull, and a lone push would look complete.
_PUSH = Script(
    _PLACE
    + """
local entry, ms, most, full = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local reached = 0
for i = 1, #KEYS do
  local last = redis.call('GETRANGE', KEYS[i], -24, -1)
  if #last == 24 then
    reached = reached + 1
    local a, b, c, d, e, f = string.byte(last, 3, 8)
    if ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f < ms then
      if redis.call('APPEND', KEYS[i], entry) > full then
        redis.call('SET', KEYS[i], trimmed(redis.call('GET', KEYS[i]), most), 'KEEPTTL')
      end
    else
      local before = redis.call('GET', KEYS[i])
      local after = with(before, entry)
      if #after > full then after = trimmed(after, most) end
      if after ~= before then redis.call('SET', KEYS[i], after, 'KEEPTTL') end
    end
  end
end
return reached
"""
)
# ARGV: video and author, as an entry ends. Without its last post a trimmed inbox no longer tells where it ends.
_WITHDRAW = Script("""
for i = 1, #KEYS do
  local value, from = redis.call('GET', KEYS[i]), 33
  while value do
    local at = string.find(value, ARGV[1], from, true)
    if not at then break end
    if at % 24 == 9 then
      if #value == 48 and string.byte(value, 24) >= 2 then
        redis.call('DEL', KEYS[i])
      else
        redis.call('SET', KEYS[i], string.sub(value, 1, at - 9) .. string.sub(value, at + 16), 'KEEPTTL')
      end
      break
    end
    from = at + 1
  end
end
return 0
""")
# ARGV: the header of this filling less its flags, the filled inbox, milliseconds to live, the bytes that stay.
_FILL = Script(
    _PLACE
    + """
local pushed = redis.call('GET', KEYS[1])
if not pushed or string.sub(pushed, 1, 23) ~= ARGV[1] or string.byte(pushed, 24) % 2 == 1 then return 0 end
local value = ARGV[2]
if string.byte(pushed, 24) >= 2 then value = marked(value) end
for i = 25, #pushed, 24 do value = with(value, string.sub(pushed, i, i + 23)) end
redis.call('SET', KEYS[1], trimmed(value, tonumber(ARGV[4])), 'PX', ARGV[3])
return 1
"""
)


class RedisInboxStore:
    """`InboxStore` in Redis. An inbox lives for `ttl_s` seconds, a brief one for `brief_s`, less up to a tenth by
    chance: not all end together."""

    def __init__(self, cache: Cache, clock: Clock, *, ttl_s: int, entries: int, brief_s: int = 120) -> None:
        self._cache = cache
        self._clock = clock
        self._ttl_ms = ttl_s * 1000
        self._brief_ms = min(brief_s, ttl_s) * 1000
        self._entries = entries

    async def read(self, user_id: int, digest: int) -> Inbox | None:
        with cache_errors():
            value = await self._cache.get(_key(user_id))
        if value is None:
            return None
        _, of, flags = _ENTRY.unpack_from(value)
        if of != digest or not flags & _FILLED:
            return None
        kept = value[_SIZE:][-self._entries * _SIZE :]
        posts = tuple(Post(video_id, author_id, at_ms) for at_ms, video_id, author_id in _ENTRY.iter_unpack(kept))
        return Inbox(posts[::-1], is_full=bool(flags & _TRIMMED) or len(posts) >= self._entries)

    async def begin_fill(self, user_id: int) -> int:
        token = secrets.randbits(62)
        with cache_errors():
            await self._cache.set(_key(user_id), _ENTRY.pack(0, token, 0), ttl_ms=FILLING_MS)
        return token

    async def fill(self, user_id: int, token: int, digest: int, posts: Sequence[Post], *, brief: bool = False) -> bool:
        newest = sorted({post.key: post for post in posts}.values(), key=lambda post: post.key)[-self._entries :]
        flags = _FILLED | (_TRIMMED if len(newest) == self._entries else 0)
        value = _ENTRY.pack(0, digest, flags) + b"".join(map(_packed, newest))
        ttl_ms = int((self._brief_ms if brief else self._ttl_ms) * random.uniform(0.9, 1.0))
        args: list[Word] = [_ENTRY.pack(0, token, 0)[:-1], value, ttl_ms, self._entries * _SIZE]
        with cache_errors():
            return bool(await self._cache.run(_FILL, [_key(user_id)], args))

    async def push(self, post: Post, user_ids: Sequence[int]) -> int:
        most = self._entries * _SIZE
        args: list[Word] = [_packed(post), post.published_at_ms, most, most + (1 + min(SLACK, self._entries)) * _SIZE]
        return await self._run(user_ids, lambda keys: _PUSH.call(keys, args))

    async def withdraw(self, post: Post, user_ids: Sequence[int]) -> None:
        await self._run(user_ids, lambda keys: _WITHDRAW.call(keys, [_packed(post)[8:]]))

    async def _run(self, user_ids: Sequence[int], call: Callable[[list[str]], Call]) -> int:
        """Run a script over the inboxes, a few batches at once; the sum of its answers."""
        batches, retries = batched(user_ids), iter(range(1, RETRIES + 1))

        async def do(batch: list[list[str]]) -> int:
            while True:
                try:
                    return sum(await self._cache.batch([call(keys) for keys in batch]))
                except CacheError:
                    # Thousands of inboxes have been pushed to already: one late answer must not be the end of them all.
                    attempt = next(retries, None)
                    if attempt is None:
                        raise
                    await self._clock.sleep(RETRY.delay(attempt))

        async def work() -> int:
            return sum([await do(batch) for batch in batches])

        with cache_errors():
            return sum(await _all(work() for _ in range(BATCHES_AT_ONCE)))


async def _all(jobs: Iterable[Awaitable[int]]) -> list[int]:
    """The answers of all jobs. When one fails the others end first: nothing goes on behind the caller's back."""
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def _key(user_id: int) -> str:
    return f"{bucket(user_id)}:inbox:{user_id}"


def _packed(post: Post) -> bytes:
    return _ENTRY.pack(post.published_at_ms, post.video_id, post.author_id)


def batched(user_ids: Sequence[int], key: Callable[[int], str] = _key) -> Iterator[list[list[str]]]:
    """Batches of keys of one bucket each."""
    buckets: defaultdict[int, list[str]] = defaultdict(list)
    for user_id in user_ids:
        buckets[user_id % 1024].append(key(user_id))
    batch: list[list[str]] = []
    size = 0
    for keys in buckets.values():
        for start in range(0, len(keys), KEYS_A_CALL):
            batch.append(keys[start : start + KEYS_A_CALL])
            size += len(batch[-1])
            if size >= KEYS_A_BATCH:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch

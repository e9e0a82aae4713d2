"""Snapshots in Redis, `{u<n>}:snap:<owner>:<id>`: version and bytes in one hash, compared and set by Lua."""

from __future__ import annotations

import zlib

from feed_svc.feeds.store import StoredSnapshot
from svc_kit.cache import Cache, Script, Word, bucket, cache_errors

# KEYS: the list of the owner's snapshots, newest first; the snapshot. The removed ones share the hash tag.
_SAVE = Script("""
local version = redis.call('HGET', KEYS[2], 'v')
if version and tonumber(version) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[2], 'v', ARGV[2], 'd', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
if ARGV[5] == '1' then
  redis.call('LREM', KEYS[1], 0, ARGV[6])
  redis.call('LPUSH', KEYS[1], ARGV[6])
  for _, old in ipairs(redis.call('LRANGE', KEYS[1], ARGV[7], -1)) do redis.call('DEL', KEYS[1] .. ':' .. old) end
  redis.call('LTRIM', KEYS[1], 0, ARGV[7] - 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
""")


class RedisSnapshotStore:
    """`SnapshotStore` in Redis. Snapshots live for `ttl_s` seconds after their last change, at most `per_owner` of an
    owner."""

    def __init__(self, cache: Cache, *, ttl_s: int, per_owner: int) -> None:
        self._cache = cache
        self._ttl_ms = ttl_s * 1000
        self._per_owner = per_owner

    async def current(self, owner: str) -> StoredSnapshot | None:
        with cache_errors():
            newest = await self._cache.call(_list(owner), "LINDEX", 0)
        return await self.get(owner, newest.decode()) if isinstance(newest, bytes) else None

    async def get(self, owner: str, snapshot_id: str) -> StoredSnapshot | None:
        with cache_errors():
            version, data = await self._cache.call(f"{_list(owner)}:{snapshot_id}", "HMGET", "v", "d")
        if not isinstance(version, bytes) or not isinstance(data, bytes):
            return None
        return StoredSnapshot(snapshot_id, int(version), data)

    async def save(self, owner: str, snapshot: StoredSnapshot, *, expected: int, current: bool) -> bool:
        key = _list(owner)
        args: list[Word] = [
            str(expected),
            str(snapshot.version),
            snapshot.data,
            self._ttl_ms,
            int(current),
            snapshot.snapshot_id,
            self._per_owner,
        ]
        with cache_errors():
            saved = await self._cache.run(_SAVE, [key, f"{key}:{snapshot.snapshot_id}"], args)
        return bool(saved)


def _list(owner: str) -> str:
    number = int(owner[1:]) if owner[0] == "u" else zlib.crc32(owner.encode())
    return f"{bucket(number)}:snap:{owner}"

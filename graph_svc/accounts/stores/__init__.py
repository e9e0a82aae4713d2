"""Adapters: `sql` the relational truth by every dialect of `svc_kit.db`, `redis` revocations, `rpc` media_svc."""

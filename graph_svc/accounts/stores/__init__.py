"""Adapters: `sql` is the relational truth for every dialect of `svc_kit.db`, `redis` the revocations, `rpc` media_svc."""

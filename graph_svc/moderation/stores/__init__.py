"""Adapters: `sql` the relational truth by every dialect of `svc_kit.db`, `rpc` those who keep what is reported."""

"""Adapters: the order in the service's database, lists of page tokens in the cache, videos asked of media_svc."""

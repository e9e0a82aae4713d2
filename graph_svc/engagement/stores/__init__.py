"""Adapters of engagement's ports: truth in the service's database, videos by media_svc."""

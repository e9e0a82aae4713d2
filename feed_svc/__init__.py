"""Feeds, fan-out, watches, trending, search and analytics."""

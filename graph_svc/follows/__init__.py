"""Follows, blocks and mutes: truth in rows, lists and counts from the graph projection."""

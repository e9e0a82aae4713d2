"""Likes, comments and shares, and their counters."""

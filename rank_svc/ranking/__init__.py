"""Scores: one feature read, one model call, one value formula."""

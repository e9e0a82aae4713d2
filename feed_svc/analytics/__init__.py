"""The archive: every event, kept after the bus forgets it."""

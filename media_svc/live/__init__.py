"""Live streams. This server has no live ingest: there are none, and none can be started."""

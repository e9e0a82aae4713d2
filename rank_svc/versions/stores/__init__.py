"""The one adapter of the record: the service's own database, whichever engine `REELGRAPH_RANK_DB_URL` names."""

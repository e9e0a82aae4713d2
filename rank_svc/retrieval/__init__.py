"""Candidates: the vector index of this replica, and the sources that draw from it."""

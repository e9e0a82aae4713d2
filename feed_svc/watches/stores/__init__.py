"""Adapters of watches: the service's relational database."""

"""Mutations, a file a domain."""

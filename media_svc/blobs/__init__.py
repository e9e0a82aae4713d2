"""Bytes by key: parts that become blobs, and blobs that are read by range."""

"""Buckets of the S3 API by URL: `s3://...`. Domain-free: what is kept in them is for the adapters to know."""

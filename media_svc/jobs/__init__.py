"""Work that outlives a request: leased, retried with backoff, taken over when its process dies."""

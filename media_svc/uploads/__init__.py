"""Resumable uploads: parts in, verified bytes out. One digest is stored and transcoded once."""

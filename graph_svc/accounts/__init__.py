"""Accounts, log-in sessions and the keys that sign access tokens."""

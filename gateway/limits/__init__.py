"""Limits on what one operation, and one client, may ask for."""

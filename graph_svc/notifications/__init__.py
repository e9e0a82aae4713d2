"""Notifications: single facts derived from events, grouped when they are read."""

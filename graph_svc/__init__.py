"""Accounts, the follow graph, engagement, notifications and moderation."""

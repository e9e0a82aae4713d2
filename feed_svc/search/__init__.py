"""Search as you type over public videos, accounts and hashtags."""

"""Subscriptions and the two transports that carry them."""

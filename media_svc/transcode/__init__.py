"""Turning an uploaded video into what players stream."""

"""Simulated viewers on the real platform: what they are shown, and what they make of it. See docs/simulation.md."""

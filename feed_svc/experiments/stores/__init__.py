"""Adapters of the experiments' ports."""

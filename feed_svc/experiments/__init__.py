"""Experiments: which configuration of the feed a viewer meets, and which one is better."""

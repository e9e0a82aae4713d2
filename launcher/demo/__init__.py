"""The small world that `reelgraph seed` and `make demo` fill the platform with."""

"""Features, two-tower retrieval and ranking: what a viewer would like to see, and how much."""

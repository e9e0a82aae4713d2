"""What is known of videos and viewers for ranking: counts, rates and histories, projected from events."""

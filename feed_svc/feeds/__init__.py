"""The feeds: skeleton, hydration, rules, presentation, each a few functions over ids, scores and reasons."""

"""Reports by viewers, and what moderators decide about them."""

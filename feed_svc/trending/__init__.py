"""What many watch now."""

"""Model versions and how they are called, whichever engine runs them."""

"""GraphQL types, a file a family."""

"""The GraphQL gateway: one schema over the gRPC services."""

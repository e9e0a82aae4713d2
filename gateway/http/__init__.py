"""The HTTP side: GraphQL over HTTP, event streams, and the few pages beside them."""

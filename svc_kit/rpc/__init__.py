"""gRPC, both sides: who may call, what a field may hold, deadlines, errors, health and reflection."""

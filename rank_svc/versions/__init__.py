"""Which version serves and why: promotion, rollback, continuous training, and what replicas say of themselves."""

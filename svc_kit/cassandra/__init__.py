"""Wide rows in Cassandra: one session a process and keyspace, prepared statements, bounded requests, errors that a
client may see. The tables belong to the domains."""

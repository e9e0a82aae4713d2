"""Every statement that the graph in Neo4j is asked with: fixed texts, values go in as parameters alone.

`(:Account {id})-[:FOLLOWS {follower, followee, since, version}]->(:Account {id})` is a follow, `UNFOLLOWED` with the
same properties one that has ended: kept for its version until it is pruned, and of another type so that a degree stays
one number to read. `active` on an account is when it last read a feed, as far as is known.

Both ends are on the relationship too. A list of a creator with a million followers is then a walk along an index in the
order that it is shown in; without them every page would sort a million. ORDER BY names all properties of an index,
since only then the planner takes its order, and USING INDEX says which one, whatever the statistics of the day.
"""

from __future__ import annotations

from typing import Final

from neo4j import Query

READ_S: Final = 1.5
"""How long the server works on one read."""
SCAN_S: Final = 20.0
"""The same for a read of the whole graph, or of a range of it."""

SCHEMA: Final = {
    "follows_account": "CREATE CONSTRAINT follows_account IF NOT EXISTS FOR (a:Account) REQUIRE a.id IS UNIQUE",
    "follows_ends": "CREATE CONSTRAINT follows_ends IF NOT EXISTS"
    " FOR ()-[r:FOLLOWS]-() REQUIRE (r.followee, r.follower) IS UNIQUE",
    "follows_ended": "CREATE CONSTRAINT follows_ended IF NOT EXISTS"
    " FOR ()-[r:UNFOLLOWED]-() REQUIRE (r.followee, r.follower) IS UNIQUE",
    "follows_followers": "CREATE INDEX follows_followers IF NOT EXISTS FOR ()-[r:FOLLOWS]-() ON (r.followee, r.since)",
    "follows_followees": "CREATE INDEX follows_followees IF NOT EXISTS FOR ()-[r:FOLLOWS]-() ON (r.follower, r.since)",
    "follows_ended_since": "CREATE INDEX follows_ended_since IF NOT EXISTS FOR ()-[r:UNFOLLOWED]-() ON (r.since)",
}
"""By name: the constraints and indexes that the statements below stand on."""
# Names that the server has never heard of draw a warning from every statement that reads them.
NAMES: Final = (
    "CALL db.createProperty('version')",
    "CALL db.createProperty('locked')",
    "CALL db.createProperty('active')",
    "CALL db.createLabel('Popular')",
)
AWAIT_INDEXES: Final = "CALL db.awaitIndexes(100)"
INDEXES: Final = "SHOW INDEXES YIELD name, state, owningConstraint RETURN name, state"
VERSION: Final = "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0]"

ADD_ACCOUNTS: Final = "UNWIND $ids AS id MERGE (:Account {id: id})"

# The lock on the follower's node makes writers of the same follow wait for each other, and nobody else: the followee,
# whom a million others may be following at this moment, is only matched.
HELD: Final = """
UNWIND $keys AS key
MATCH (a:Account {id: key[0]})
MATCH (b:Account {id: key[1]})
SET a.locked = true
WITH key
OPTIONAL MATCH ()-[f:FOLLOWS {followee: key[1], follower: key[0]}]->()
OPTIONAL MATCH ()-[u:UNFOLLOWED {followee: key[1], follower: key[0]}]->()
RETURN key[0], key[1], f.version, f.since, u.version, u.since
"""
BEGIN: Final = """
UNWIND $rows AS row
MATCH (a:Account {id: row[0]})
MATCH (b:Account {id: row[1]})
CREATE (a)-[:FOLLOWS {follower: row[0], followee: row[1], version: row[2], since: row[3]}]->(b)
WITH DISTINCT b
WHERE NOT b:Popular AND COUNT { (b)<-[:FOLLOWS]-() } >= $popular
SET b:Popular
"""
END: Final = """
UNWIND $rows AS row
MATCH (a:Account {id: row[0]})
MATCH (b:Account {id: row[1]})
CREATE (a)-[:UNFOLLOWED {follower: row[0], followee: row[1], version: row[2], since: row[3]}]->(b)
"""
RENEW: Final = """
UNWIND $rows AS row
MATCH ()-[r:FOLLOWS {followee: row[1], follower: row[0]}]->()
SET r.version = row[2], r.since = row[3]
"""
RENEW_ENDED: Final = """
UNWIND $rows AS row
MATCH ()-[r:UNFOLLOWED {followee: row[1], follower: row[0]}]->()
SET r.version = row[2], r.since = row[3]
"""
REMOVE: Final = "UNWIND $keys AS key MATCH ()-[r:FOLLOWS {followee: key[1], follower: key[0]}]->() DELETE r"
REMOVE_ENDED: Final = "UNWIND $keys AS key MATCH ()-[r:UNFOLLOWED {followee: key[1], follower: key[0]}]->() DELETE r"

# Only the viewer's own node is locked. A statement of its own: within one, a property may be read before the lock.
LOCK: Final = "UNWIND $ids AS id MATCH (a:Account {id: id}) SET a.locked = true RETURN count(*)"
NOTE_ACTIVE: Final = """
UNWIND $seen AS seen
MATCH (a:Account {id: seen[0]})
WHERE coalesce(a.active, 0) < seen[1]
SET a.active = seen[1]
"""
ACTIVE_AT: Final = Query("MATCH (a:Account {id: $id}) RETURN a.active", timeout=READ_S)
ENDED_BEFORE: Final = Query(
    """
MATCH ()-[r:UNFOLLOWED]->() USING INDEX r:UNFOLLOWED(since)
WHERE r.since < $before
WITH r ORDER BY r.since LIMIT $limit
RETURN collect([r.follower, r.followee])
""",
    timeout=READ_S,
)

# Lists come as one record with lists in it: the driver makes an object of each record.
RANGE: Final = Query(
    """
MATCH (a:Account) USING INDEX a:Account(id) WHERE a.id >= $after_from AND a.id <= $upto_from
MATCH (a)-[r:FOLLOWS|UNFOLLOWED]->()
WHERE r.since < $before
  AND (a.id > $after_from OR r.followee > $after_to)
  AND (a.id < $upto_from OR r.followee <= $upto_to)
WITH a.id AS follower, r.followee AS followee ORDER BY follower, followee LIMIT $limit
RETURN collect([follower, followee])
""",
    timeout=SCAN_S,
)
FOLLOWERS: Final = Query(
    """
MATCH ()-[r:FOLLOWS]->() USING INDEX r:FOLLOWS(followee, since)
WHERE r.followee = $id AND r.since < $before
WITH r ORDER BY r.followee DESC, r.since DESC LIMIT $limit
RETURN collect([r.follower, r.since])
""",
    timeout=READ_S,
)
FOLLOWEES: Final = Query(
    """
MATCH ()-[r:FOLLOWS]->() USING INDEX r:FOLLOWS(follower, since)
WHERE r.follower = $id AND r.since < $before
WITH r ORDER BY r.follower DESC, r.since DESC LIMIT $limit
RETURN collect([r.followee, r.since])
""",
    timeout=READ_S,
)
FOLLOWER_IDS: Final = Query(
    """
MATCH ()-[r:FOLLOWS]->() USING INDEX r:FOLLOWS(followee, follower)
WHERE r.followee = $id AND r.follower > $after
WITH r ORDER BY r.followee, r.follower LIMIT $limit
RETURN collect(r.follower)
""",
    timeout=READ_S,
)
# Looks at `limit` of them, whoever is active: what a query costs doesn't depend on that.
ACTIVE_FOLLOWER_IDS: Final = Query(
    """
MATCH (a)-[r:FOLLOWS]->() USING INDEX r:FOLLOWS(followee, follower)
WHERE r.followee = $id AND r.follower > $after
WITH a, r ORDER BY r.followee, r.follower LIMIT $limit
RETURN count(*), max(r.follower), collect(CASE WHEN coalesce(a.active, $since) >= $since THEN r.follower END)
""",
    timeout=READ_S,
)
DEGREES: Final = Query(
    """
UNWIND $ids AS id
MATCH (a:Account {id: id})
OPTIONAL MATCH ()-[x:FOLLOWS {followee: id, follower: $viewer}]->()
OPTIONAL MATCH ()-[y:FOLLOWS {followee: $viewer, follower: id}]->()
RETURN id, COUNT { (a)<-[:FOLLOWS]-() }, COUNT { (a)-[:FOLLOWS]->() }, x IS NOT NULL, y IS NOT NULL,
  COUNT { UNWIND $severed AS other MATCH ()-[:FOLLOWS {followee: id, follower: other}]->() }
""",
    timeout=READ_S,
)
MUTUALS: Final = Query(
    """
MATCH ()-[r:FOLLOWS]->() USING INDEX r:FOLLOWS(follower, since)
WHERE r.follower = $id AND r.since > 0 AND EXISTS { ()-[:FOLLOWS {followee: $id, follower: r.followee}]->() }
WITH r.followee AS id ORDER BY id LIMIT $limit
RETURN collect(id)
""",
    timeout=READ_S,
)
FRIENDS_OF_FRIENDS: Final = Query(
    """
MATCH ()-[r:FOLLOWS]->(friend) USING INDEX r:FOLLOWS(follower, since)
WHERE r.follower = $viewer AND r.since > 0
WITH r, friend ORDER BY r.follower DESC, r.since DESC LIMIT $friends
MATCH (friend)-[s:FOLLOWS]->(found)
WITH found, count(s) AS paths, collect(s) AS via
WHERE found.id <> $viewer AND NOT EXISTS { ()-[:FOLLOWS {followee: found.id, follower: $viewer}]->() }
WITH found.id AS id, paths, via ORDER BY paths DESC, id LIMIT $limit
RETURN id, paths, COLLECT { UNWIND via AS s RETURN s.follower ORDER BY s.since DESC LIMIT $named }
""",
    timeout=READ_S,
)
POPULAR: Final = Query(
    """
MATCH (a:Popular)
WITH a.id AS id, COUNT { (a)<-[:FOLLOWS]-() } AS followers ORDER BY followers DESC, id LIMIT $limit
RETURN collect([id, followers])
""",
    timeout=READ_S,
)
MOST_FOLLOWED: Final = Query(
    """
MATCH (a:Account)
WITH a.id AS id, COUNT { (a)<-[:FOLLOWS]-() } AS followers
WHERE followers > 0
WITH id, followers ORDER BY followers DESC, id LIMIT $limit
RETURN collect([id, followers])
""",
    timeout=SCAN_S,
)

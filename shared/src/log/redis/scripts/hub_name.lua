-- What redis-nexus calls itself.
-- KEYS: any of its own. ARGV: none. Checks: nothing. Writes: nothing. Answers: its replication id.
return { replication_id() }

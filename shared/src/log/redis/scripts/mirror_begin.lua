-- Begins a copy of a log, or begins it anew.
-- KEYS: head, log, snap, and in redis-nexus sources, news. ARGV: begun and last that the copy must have or '', channel or '', source,
-- news kept, snapshot's id, lineage, public, own, system, dormant, then id and record of each entry after it.
-- Checks: the copy is as expected. Writes: the snapshot, the log, the whole head; publishes the entries, or says that there is news.
-- Answers: begun, last, lineage, snapshot of the copy as it is now.
local head = redis.call('HMGET', KEYS[1], 'begun', 'last')
if (head[1] or '') == ARGV[1] and (head[2] or '') == ARGV[2] then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[3], 'format', '1', 'id', ARGV[6], 'lineage', ARGV[7], 'public', ARGV[8], 'own', ARGV[9],
    'system', ARGV[10], 'dormant', ARGV[11])
  redis.call('HSET', KEYS[1], 'format', '1', 'owner', '', 'ring', '0', 'begun', text((tonumber(head[1]) or 0) + 1), 'last', ARGV[6],
    'lineage', ARGV[7], 'snapshot', ARGV[6])
  copy_entries(KEYS[1], KEYS[2], ARGV[3], ARGV[6], ARGV[7], 12)
  tell(KEYS[1], KEYS[4], KEYS[5], ARGV[4], ARGV[5])
end
return standing(KEYS[1])

-- Takes ownership of a room.
-- KEYS: head, log, snap. ARGV: incarnation, ring, counter, jitter, may_take 0|1, channel, public, own, system, dormant,
-- replication id or ''.
-- Checks: a room without log has no home elsewhere; the nonce (same counter: same answer; lower: refused), the owner (taken from only on the Redis that the last
-- beat saw), the ring version. Writes: a claim entry,
-- the whole head but `feed`, and for a room without log its genesis snapshot; publishes the entry.
-- Answers: GRANTED id prev lineage time owner-before-or-'' | OWNED incarnation ring | STALE_RING ring | STALE_NONCE | ELSEWHERE region.
local me, ring, counter = ARGV[1], ARGV[2], ARGV[3]
local head = redis.call('HMGET', KEYS[1], 'last', 'owner', 'ring', 'lineage', 'claims', 'home')
local last, owner, head_ring = head[1], head[2] or '', tonumber(head[3] or '0')
local lineage, claims = head[4] or '', head[5] or ''
local now = now_ms()

if not last and head[6] then
  return { 'ELSEWHERE', head[6] }
end
local known, known_id, known_prev = claim_of(claims, me)
if known and known == tonumber(counter) then
  return { 'GRANTED', known_id, known_prev, lineage_before(lineage, known_id), text(now), '' }
elseif known and known > tonumber(counter) then
  return { 'STALE_NONCE' }
end
local others = owner ~= '' and owner ~= me
if others and (ARGV[5] == '0' or tonumber(ring) == head_ring or ARGV[11] ~= '' and replication_id() ~= ARGV[11]) then
  return { 'OWNED', owner, text(head_ring) }
elseif tonumber(ring) < head_ring then
  -- Also when another owns it: that owner may have died in a ring that this node has not seen.
  return { 'STALE_RING', text(head_ring) }
end

local prev = last or '0-0'
local epoch, version = split_id(prev)
local id = text(math.max(epoch + 1 + tonumber(ARGV[4]), now)) .. '-' .. text(version + 1)
if last then
  lineage = lineage_with(lineage, prev)
end
local record = claim_record(prev, me, ring, counter)
redis.call('XADD', KEYS[2], id, 'e', record)
redis.call('HSET', KEYS[1], 'format', '1', 'last', id, 'owner', me, 'ring', ring, 'nonce', me .. ' ' .. counter,
  'lineage', lineage, 'claims', claims_with(claims, me, counter, id, prev))
if not last then
  redis.call('HSET', KEYS[3], 'format', '1', 'id', '0-0', 'lineage', '', 'public', ARGV[7], 'own', ARGV[8],
    'system', ARGV[9], 'dormant', ARGV[10])
end
publish(ARGV[6], id, record)
return { 'GRANTED', id, prev, lineage, text(now), others and owner or '' }

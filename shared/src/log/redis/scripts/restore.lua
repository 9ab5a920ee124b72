-- Makes a log whole from its owner's memory after Redis lost more than the owner can append again.
-- KEYS: head, log, snap. ARGV: expects or '', incarnation, ring, counter, jitter, my_last, my lineage, channel,
-- public, own, system, dormant.
-- Checks: the nonce (same counter: same answer; lower: refused), the head's last id equals expects (none: also where
-- the log is gone and only a head of my epoch or an older one is left: `append` says LOST none there). Writes: the snapshot
-- at my_last, a claim entry after it, the whole head but `feed`; publishes the entry.
-- Answers: DONE id lineage time | REFUSED last-or-''.
local me, counter, my_last = ARGV[2], ARGV[4], ARGV[6]
local head = redis.call('HMGET', KEYS[1], 'last', 'lineage', 'claims')
local last, claims = head[1] or '', head[3] or ''
local now = now_ms()

local my_epoch, my_version = split_id(my_last)
local headless = ARGV[1] == '' and last ~= '' and redis.call('EXISTS', KEYS[2]) == 0 and split_id(last) <= my_epoch
local known, known_id = claim_of(claims, me)
if known and known == tonumber(counter) then
  return { 'DONE', known_id, lineage_before(head[2] or '', known_id), text(now) }
elseif (known and known > tonumber(counter)) or (last ~= ARGV[1] and not headless) then
  return { 'REFUSED', last }
end

local last_epoch = last == '' and 0 or split_id(last)
local epoch = math.max(math.max(my_epoch, last_epoch) + 1 + tonumber(ARGV[5]), now)
local id = text(epoch) .. '-' .. text(my_version + 1)
local lineage = lineage_with(ARGV[7], my_last)
local record = claim_record(my_last, me, ARGV[3], counter)
redis.call('XADD', KEYS[2], id, 'e', record)
redis.call('HSET', KEYS[3], 'format', '1', 'id', my_last, 'lineage', ARGV[7], 'public', ARGV[9], 'own', ARGV[10],
  'system', ARGV[11], 'dormant', ARGV[12])
redis.call('HSET', KEYS[1], 'format', '1', 'last', id, 'owner', me, 'ring', ARGV[3], 'nonce', me .. ' ' .. counter,
  'lineage', lineage, 'claims', claims_with(claims, me, counter, id, my_last))
publish(ARGV[8], id, record)
return { 'DONE', id, lineage, text(now) }

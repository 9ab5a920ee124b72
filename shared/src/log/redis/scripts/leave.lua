-- A member leaves at once.
-- KEYS: members. ARGV: incarnation. Checks: not gone yet. Writes: into gone, out of the members; the ring version is
-- raised if it was on the ring. Answers: DONE.
local key, me, now = KEYS[1], ARGV[1], now_ms()
local members, gone, facts = roll_of(key)
if gone[me] then
  return { 'DONE' }
end
if members[me] and members[me].state == 'in' then
  redis.call('HSET', key, 'ring', text(raised(tonumber(facts.ring or '0'), now)))
end
redis.call('HDEL', key, 'm:' .. me)
redis.call('HSET', key, 'format', '1', 'g:' .. me, text(now))
return { 'DONE' }

-- Revokes a token or a player, bans a player or ends a ban.
-- KEYS: revoked (by when it was made), revoked_until. ARGV: what, until_ms, 1 if until only grows, what it replaces or ''.
-- Checks: until is in the future. Writes: forgets what is over and what it replaces, adds this under the next time; both
-- keys expire with the last of it. Answers: OK, at_ms | OVER, time.
local now, till = now_ms(), tonumber(ARGV[2])
if till <= now then
  return { 'OVER', text(now) }
end
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', 0, 1000)
if #over > 0 then
  redis.call('ZREM', KEYS[1], unpack(over))
  redis.call('ZREM', KEYS[2], unpack(over))
end
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
-- At least TIME: one that was lost with a tail had a smaller number than whatever comes after it.
local at = math.max(tonumber(newest[2] or '0') + 1, now)
redis.call('ZADD', KEYS[1], text(at), ARGV[1])
if ARGV[3] == '1' then
  -- A later revocation of the same never ends an earlier one sooner.
  redis.call('ZADD', KEYS[2], 'GT', text(till), ARGV[1])
else
  redis.call('ZADD', KEYS[2], text(till), ARGV[1])
end
if ARGV[4] ~= '' then
  redis.call('ZREM', KEYS[1], ARGV[4])
  redis.call('ZREM', KEYS[2], ARGV[4])
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], text(tonumber(last[2])))
redis.call('PEXPIREAT', KEYS[2], text(tonumber(last[2])))
return { 'OK', text(at) }

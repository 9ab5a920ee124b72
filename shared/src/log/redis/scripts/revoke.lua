-- Revokes a token or a player, bans a player or ends a ban.
-- KEYS: revoked (by when it was made), revoked_until, revoked_from. ARGV: what, until_ms, 1 if until only grows, what it replaces
-- or '', the region that says so or ''.
-- Checks: until is in the future; of another region: it was not revoked here for as long. Writes: forgets what is over and
-- what it replaces, adds this under the next time, and whether it is the region's own; the keys expire with the last of it.
-- Answers: OK, at_ms | OVER, time | KNOWN.
local now, till = now_ms(), tonumber(ARGV[2])
if till <= now then
  return { 'OVER', text(now) }
end
if ARGV[5] ~= '' and ARGV[3] == '1' and tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0') >= till then
  return { 'KNOWN' }
end
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', 0, 1000)
if #over > 0 then
  redis.call('ZREM', KEYS[1], unpack(over))
  redis.call('ZREM', KEYS[2], unpack(over))
  redis.call('SREM', KEYS[3], unpack(over))
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
  redis.call('SREM', KEYS[3], ARGV[4])
end
if ARGV[5] ~= '' then
  redis.call('SADD', KEYS[3], ARGV[1])
else
  redis.call('SREM', KEYS[3], ARGV[1])
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], text(tonumber(last[2])))
redis.call('PEXPIREAT', KEYS[2], text(tonumber(last[2])))
redis.call('PEXPIREAT', KEYS[3], text(tonumber(last[2])))
return { 'OK', text(at) }

-- Shared by the scripts that revoke; their first KEYS are revoked (by when it was made), revoked_until, revoked_from, revoked_said.
-- Forgets what is over and what it replaces, adds this under the next time, and whether it is the region's own. The keys
-- expire with the last of it, but for what others said of bans. Answers: at_ms.
local function revoke(now, what, till, only_grows, replaced, is_own)
  local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', 0, 1000)
  if #over > 0 then
    redis.call('ZREM', KEYS[1], unpack(over))
    redis.call('ZREM', KEYS[2], unpack(over))
    redis.call('SREM', KEYS[3], unpack(over))
    for _, gone in ipairs(over) do
      -- Of bans the number is kept: an older one may be for longer.
      if string.sub(gone, 1, 7) == 'player:' then
        redis.call('HDEL', KEYS[4], gone)
      end
    end
  end
  local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  -- At least TIME: one that was lost with a tail had a smaller number than whatever comes after it.
  local at = math.max(tonumber(newest[2] or '0') + 1, now)
  redis.call('ZADD', KEYS[1], text(at), what)
  if only_grows then
    -- A later revocation of the same never ends an earlier one sooner.
    redis.call('ZADD', KEYS[2], 'GT', text(till), what)
  else
    redis.call('ZADD', KEYS[2], text(till), what)
  end
  if replaced ~= '' then
    redis.call('ZREM', KEYS[1], replaced)
    redis.call('ZREM', KEYS[2], replaced)
    redis.call('SREM', KEYS[3], replaced)
  end
  if is_own then
    redis.call('SREM', KEYS[3], what)
  else
    redis.call('SADD', KEYS[3], what)
  end
  local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
  for key = 1, 3 do
    redis.call('PEXPIREAT', KEYS[key], text(tonumber(last[2])))
  end
  return at
end


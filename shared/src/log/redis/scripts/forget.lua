-- Drops what a member that is gone left behind.
-- KEYS: rooms, inbox. Checks: it owns no room any more. Writes: removes both keys. Answers: DONE | ROOMS.
if redis.call('SCARD', KEYS[1]) > 0 then
  return { 'ROOMS' }
end
redis.call('UNLINK', KEYS[1], KEYS[2])
return { 'DONE' }

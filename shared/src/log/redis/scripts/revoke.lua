-- Revokes a token or a player, bans a player or ends a ban.
-- KEYS: as `revokes`. ARGV: what, until_ms, 1 if until only grows, what it replaces or ''.
-- Checks: until is in the future. Writes: as `revokes`. Answers: OK, at_ms | OVER, time.
local now, till = now_ms(), tonumber(ARGV[2])
if till <= now then
  return { 'OVER', text(now) }
end
return { 'OK', text(revoke(now, ARGV[1], till, ARGV[3] == '1', ARGV[4], true)) }

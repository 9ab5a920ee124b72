-- Writes a claim entry again that Redis lost: same id, prev and nonce.
-- KEYS: head, log. ARGV: prev, id, incarnation, ring, counter, lineage, channel.
-- Checks: the head's last id equals prev; the log exists. Writes: the entry and the head as `claim` left them; publishes.
-- Answers like append: OK receivers time | ALREADY time | FENCED last | LOST last-or-''.
local head = redis.call('HMGET', KEYS[1], 'last', 'claims')
local last = head[1]
if last ~= ARGV[1] then
  return refusal(last, ARGV[2])
end
local record = claim_record(ARGV[1], ARGV[3], ARGV[4], ARGV[5])
if not redis.call('XADD', KEYS[2], 'NOMKSTREAM', ARGV[2], 'e', record) then
  return { 'LOST', '' }
end
redis.call('HSET', KEYS[1], 'last', ARGV[2], 'owner', ARGV[3], 'ring', ARGV[4], 'nonce', ARGV[3] .. ' ' .. ARGV[5],
  'lineage', ARGV[6], 'claims', claims_with(head[2] or '', ARGV[3], ARGV[5], ARGV[2], ARGV[1]))
local receivers = publish(ARGV[7], ARGV[2], record)
return { 'OK', text(receivers), text(now_ms()) }

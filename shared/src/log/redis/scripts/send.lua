-- Puts commands into a node's inbox, all or none.
-- KEYS: inbox. ARGV: items at most, commands. Checks: the inbox exists and has room. Writes: one item per command.
-- Answers: OK | BUSY | GONE.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { 'GONE' }
elseif redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
  return { 'BUSY' }
end
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', 'c', ARGV[i])
end
return { 'OK' }

-- Takes a step of a jump's register.
-- KEYS: register. ARGV: step. Checks: that it may be taken (JumpStep::from). Writes: the state.
-- Answers: state, whether redis-nexus is called as when it was offered (1 or 0) | '' if there is no register.
local stored = redis.call('HMGET', KEYS[1], 'state', 'hub')
local state = stored[1]
if not state then
  return { '' }
end
local sure = stored[2] == replication_id() and '1' or '0'
local steps = {
  take = { ['offered 1'] = 'taken', ['asked 0'] = 'taken', ['asked 1'] = 'taken' },
  cancel = { ['offered 1'] = 'cancelled' },
  ask = { ['offered 0'] = 'asked' },
  restored = { ['offered 0'] = 'cancelled' },
  arrive = {
    ['offered 0'] = 'arrived', ['offered 1'] = 'arrived', ['asked 0'] = 'arrived', ['asked 1'] = 'arrived',
    ['taken 0'] = 'arrived', ['taken 1'] = 'arrived',
  },
}
local leads_to = steps[ARGV[1]][state .. ' ' .. sure]
if leads_to then
  state = leads_to
  redis.call('HSET', KEYS[1], 'state', state)
end
return { state, sure }

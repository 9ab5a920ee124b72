-- Makes an empty inbox. KEYS: inbox. Checks: it does not exist. Writes: an empty stream. Answers: DONE.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[1], '*', 'c', '')
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', '0')
end
return { 'DONE' }

#!lua name=fpserver_recommend

-- What the users of one shard did, written and read inside the server: one call per shard instead of a command per event.
--
-- Every function gets the names it may touch as KEYS, made by keys.py: n_changes, users, and the beginning of the keys of
-- events. Keys beyond KEYS are that beginning plus a user's name; they carry the shard's hash tag. No key is just such a
-- beginning: while a slot moves key by key, its node misses that one among KEYS and refuses the whole call, so nothing
-- is done by halves.
--
-- Always true: a user has a number in `users` exactly while there are events of theirs; the number is that of the last
-- change to them, of all changes in the shard, and no two users have the same.

local TOO_MANY = 1.1 -- times the limit: beyond it, the oldest events beyond the limit are erased, many at a time
local AT = 10 -- where an event's moment begins (codec.py)
local AT_ONCE = 1000 -- names in one command: unpack() has a limit of some thousands

local function changed(keys, user, n_events)
  redis.call("ZADD", keys[2], redis.call("INCRBY", keys[1], n_events), user)
end

-- Erase a user's oldest events beyond the limit.
local function trim(name, max_events)
  local flat, moments = redis.call("HGETALL", name), {}
  for i = 1, #flat, 2 do
    moments[#moments + 1] = { struct.unpack("<d", flat[i + 1], AT), flat[i] }
  end
  table.sort(moments, function(a, b)
    if a[1] ~= b[1] then
      return a[1] < b[1]
    end
    return a[2] < b[2]
  end)
  local names, n_over = {}, #moments - max_events
  for i = 1, n_over do
    names[#names + 1] = moments[i][2]
    if #names == AT_ONCE or i == n_over then
      redis.call("HDEL", name, unpack(names))
      names = {}
    end
  end
end

-- put: ARGV most events of a user, packed events (codec.py). Answers a byte per event in the order sent: 1 when it is new,
-- 0 when the user has an event of this id, which then stays as it is.
local function put(keys, args)
  local max_events, groups = tonumber(args[1]), cmsgpack.unpack(args[2])
  local news = {}
  for g = 1, #groups, 2 do
    local user, flat, n_new = groups[g], groups[g + 1], 0
    local name = keys[3] .. user
    for i = 1, #flat, 2 do
      local new = redis.call("HSETNX", name, flat[i], flat[i + 1])
      news[#news + 1] = string.char(new)
      n_new = n_new + new
    end
    if n_new > 0 then
      changed(keys, user, n_new)
      if redis.call("HLEN", name) > TOO_MANY * max_events then
        trim(name, max_events)
      end
    end
  end
  return table.concat(news)
end

-- forget: ARGV user. Answers how many events were erased.
local function forget(keys, args)
  local user = args[1]
  local n_events = redis.call("HLEN", keys[3] .. user)
  redis.call("UNLINK", keys[3] .. user)
  redis.call("ZREM", keys[2], user)
  if n_events > 0 then
    redis.call("INCRBY", keys[1], n_events)
  end
  return n_events
end

-- events: ARGV user. Answers msgpack [id, event, id, event …].
local function events(keys, args)
  return cmsgpack.pack(redis.call("HGETALL", keys[3] .. args[1]))
end

-- history: ARGV user. Answers the user's events end to end.
local function history(keys, args)
  return table.concat(redis.call("HVALS", keys[3] .. args[1]))
end

-- page: ARGV number, most users, most events. Answers user, number, events end to end, user … of those changed after
-- `number`, by their numbers; the last one may go beyond the limit of events.
local function page(keys, args)
  local max_events, n_events, rows = tonumber(args[3]), 0, {}
  local users = redis.call("ZRANGEBYSCORE", keys[2], "(" .. args[1], "+inf", "WITHSCORES", "LIMIT", 0, args[2])
  for i = 1, #users, 2 do
    local found = redis.call("HVALS", keys[3] .. users[i])
    rows[#rows + 1] = users[i]
    rows[#rows + 1] = users[i + 1]
    rows[#rows + 1] = table.concat(found)
    n_events = n_events + #found
    if n_events >= max_events then
      break
    end
  end
  return rows
end

local function reads(name, callback)
  redis.register_function({ function_name = name, callback = callback, flags = { "no-writes" } })
end

redis.register_function("fpserver_feedback_put", put)
redis.register_function("fpserver_feedback_forget", forget)
reads("fpserver_feedback_events", events)
reads("fpserver_feedback_history", history)
reads("fpserver_feedback_page", page)

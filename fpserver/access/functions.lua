#!lua name=fpserver_access

-- Whether a key may ask now, decided and counted in one step, so that all processes agree.
--
-- Functions get the beginning of all names as their one key, and name the others by the rules of keys.py. Time is the
-- store's: processes' clocks may differ.

local DAY_MS = 86400000

local function now_ms()
  local time = redis.call("TIME")
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function number(value, otherwise)
  return tonumber(value) or tonumber(otherwise)
end

-- The generic cell rate algorithm (ITU-T I.371): a request takes 1 / rate of time; a burst may run so far ahead.
-- Answers whether it passes, how many more would now, after how many ms one will, and when all will.
local function meter(name, now, rate_per_s, burst)
  local each_ms = 1000 / rate_per_s
  local full_at = math.max(now, tonumber(redis.call("GET", name)) or now)
  local ahead_ms = full_at + each_ms - now
  if ahead_ms > burst * each_ms then
    return false, 0, ahead_ms - burst * each_ms, full_at - now
  end
  redis.call("SET", name, string.format("%.3f", full_at + each_ms), "PX", math.ceil(ahead_ms) + 1000)
  return true, math.floor((burst * each_ms - ahead_ms) / each_ms + 1e-6), 0, ahead_ms
end

-- take: id, digest of the secret, scopes of which one will do (comma-separated), and the limits of keys that have none of
-- their own: rate_per_s, burst, per_day (0: no quota).
-- Answers {verdict, name, scopes, rate_per_s, burst, left, retry or full in ms, per_day, left of it, ms until the next day}.
local function take(keys, args)
  local root, id, digest = keys[1], args[1], args[2]
  local record = root .. ":key:" .. id
  local values = redis.call(
    "HMGET", record, "digest", "old_digest", "old_until", "name", "scopes", "rate_per_s", "burst", "per_day", "used_at"
  )
  local now = now_ms()
  local known = values[1] and values[1] == digest
  local old = values[2] and values[2] == digest and now < tonumber(values[3])
  if not (known or old) then
    return { "unknown" }
  end
  local scopes = "," .. values[5] .. ","
  local may = string.find(scopes, ",admin,", 1, true) ~= nil
  for scope in string.gmatch(args[3], "[^,]+") do
    may = may or string.find(scopes, "," .. scope .. ",", 1, true) ~= nil
  end
  if not may then
    return { "scope", values[4], values[5] }
  end
  local rate_per_s, burst = number(values[6], args[4]), number(values[7], args[5])
  local per_day = number(values[8], args[6])
  local day = math.floor(now / DAY_MS)
  local of_day, until_next = root .. ":day:" .. id .. ":" .. day, (day + 1) * DAY_MS - now
  local used = per_day > 0 and tonumber(redis.call("GET", of_day)) or 0
  local verdict, left, wait_ms, full_ms = "quota", 0, 0, 0
  if per_day == 0 or used < per_day then
    local passes
    passes, left, wait_ms, full_ms = meter(root .. ":rate:" .. id, now, rate_per_s, burst)
    verdict = passes and "ok" or "rate"
  end
  if verdict == "ok" then
    if per_day > 0 then
      used = redis.call("INCR", of_day)
      redis.call("PEXPIRE", of_day, until_next + 1000)
    end
    if now - (tonumber(values[9]) or 0) > 60000 then
      redis.call("HSET", record, "used_at", now)
    end
  end
  return {
    verdict, values[4], values[5], tostring(rate_per_s), burst, left,
    math.ceil(verdict == "rate" and wait_ms or full_ms), per_day, math.max(0, per_day - used), until_next,
  }
end

-- make: id, then field, value, … of the record.
local function make(keys, args)
  local root, id, now, time = keys[1], args[1], now_ms(), redis.call("TIME")
  redis.call("ZADD", root .. ":keys", time[1] * 1000000 + time[2], id) -- two in one millisecond keep their order
  redis.call("HSET", root .. ":key:" .. id, "created_at", now, unpack(args, 2))
  return now
end

-- rotate: id, digest of the new secret, milliseconds for which the one before still does. Answers 0 where there is no such
-- key, or it is revoked.
local function rotate(keys, args)
  local record, digest, grace_ms = keys[1] .. ":key:" .. args[1], args[2], tonumber(args[3])
  local before = redis.call("HGET", record, "digest")
  if not before then
    return 0
  end
  if before == digest then -- sent twice
    return 1
  end
  redis.call("HSET", record, "digest", digest)
  if grace_ms > 0 then
    redis.call("HSET", record, "old_digest", before, "old_until", now_ms() + grace_ms)
  else
    redis.call("HDEL", record, "old_digest", "old_until")
  end
  return 1
end

-- revoke: id. Answers 0 where there is no such key.
local function revoke(keys, args)
  local record = keys[1] .. ":key:" .. args[1]
  if redis.call("EXISTS", record) == 0 then
    return 0
  end
  redis.call("HDEL", record, "digest", "old_digest", "old_until")
  redis.call("HSETNX", record, "revoked_at", now_ms())
  redis.call("DEL", keys[1] .. ":rate:" .. args[1])
  return 1
end

redis.register_function("access_take", take)
redis.register_function("access_make", make)
redis.register_function("access_rotate", rotate)
redis.register_function("access_revoke", revoke)

#!lua name=fpserver_index

-- Postings of one shard, written and read inside the server: one call per shard instead of one command per hash.
--
-- Every function gets the names it may touch as KEYS, made by keys.py: whole keys, or the beginning of the keys of
-- buckets and tails. Keys beyond KEYS are those beginnings plus a bucket; they carry the shard's hash tag, so they are
-- in the slot of KEYS[1], which is all that a Cluster asks of a function. No key is just such a beginning: while a slot
-- moves key by key, its node misses that one among KEYS and refuses the whole call, so nothing is done by halves.
--
-- Always true: a posting list's head, of HEAD_BYTES at most, is a field of its bucket, the rest, if any, its tail; what is
-- added goes into the tail only behind a full head. A list is plain or, if its head begins with a marker, sealed
-- (lists.py): then its tail begins with code. So a bucket stays a listpack whatever its hashes, an append never copies a
-- long list, and a reader knows a list's length without reading it.

local HEAD_BYTES = 252 -- 42 postings; 128 such fields and the listpack is 33 kB
local POSTING_BYTES = 6
local MARKER_BYTES = 12
local LEFT_OUT = 2147483648 -- in a lookup's answer added to the length of a list that is not read
local REMOVING = "removing"
local BLOCK_FRAMES = 128 -- of a track's peaks
local MAX_FRAMES = 16777216 -- the header of peaks is n_frames and, above it, the version
local NO_PEAKS = "\0\0\0\0"

local FIELD = {} -- names of fields; small decimal numbers take 2 bytes in a listpack
for low = 0, 127 do
  FIELD[low] = low .. "" -- Lua's own functions are not there yet while a library loads
end

-- Numbers as 4 bytes each: 200 at a time, since unpack() has a limit of some thousands.
local function pack_u32(numbers)
  local parts = {}
  for first = 1, #numbers, 200 do
    local last = math.min(first + 199, #numbers)
    local format = ">" .. string.rep("I4", last - first + 1)
    parts[#parts + 1] = struct.pack(format, unpack(numbers, first, last))
  end
  return table.concat(parts)
end

local function names_of(lows)
  local names = {}
  for i = 1, #lows do
    names[i] = FIELD[lows[i]]
  end
  return names
end

-- Lists by bucket, laid out as codec.py draws them. Calls visit(bucket, lows), bucket being its 4 bytes; returns where
-- the columns end.
local function each_bucket(blob, visit)
  local n_buckets = struct.unpack(">I4", blob)
  local at_n, at_low = 5 + 4 * n_buckets, 5 + 5 * n_buckets
  for b = 0, n_buckets - 1 do
    local n = string.byte(blob, at_n + b)
    visit(string.sub(blob, 5 + 4 * b, 8 + 4 * b), { string.byte(blob, at_low, at_low + n - 1) })
    at_low = at_low + n
  end
  return at_low
end

-- Whether a chunk of these tracks is to be written: 1, or 0 (it was already), or -1 (one of them is being removed, was
-- added with others or not at all, or an earlier chunk is missing).
local function is_due(tracks, doing, ids, name, chunk)
  local states, due = redis.call("HMGET", doing, unpack(ids)), nil
  for i = 1, #ids do
    local state, done = states[i], 0
    if redis.call("GETBIT", tracks, ids[i]) == 1 then
      done = math.huge
    elseif state then
      done = string.sub(state, 1, #name) == name and tonumber(string.sub(state, #name + 1)) or -1
    end
    local this = done == chunk and 1 or (done > chunk and 0 or -1)
    if due and this ~= due then
      return -1
    end
    due = this
  end
  return due
end

-- add: KEYS tracks, doing, n_postings, bucket prefix, tail prefix; ARGV name of the company, chunk, n_chunks, packed
-- postings, ids of its tracks. Answers as is_due.
-- `doing` tells of each track in which company it is added, and the chunks written of that; the last chunk turns it into
-- the track's bit in `tracks`. Everything is read before anything is written: a read that fails leaves nothing half done.
local function add(keys, args)
  local call, sub, char = redis.call, string.sub, string.char
  local tracks, doing, n_postings, buckets, tails = unpack(keys)
  local name, chunk, n_chunks, blob = args[1], tonumber(args[2]), tonumber(args[3]), args[4]
  local ids = { unpack(args, 5) }
  local due = is_due(tracks, doing, ids, name, chunk)
  if due ~= 1 then
    return due
  end

  local heads, n_lists = {}, 0
  local at_size = each_bucket(blob, function(bucket, lows)
    local names = names_of(lows)
    heads[#heads + 1] = { bucket, lows, names, call("HMGET", buckets .. bucket, unpack(names)) }
    n_lists = n_lists + #lows
  end)
  local at = at_size + 2 * n_lists
  call("INCRBY", n_postings, (#blob - at + 1) / POSTING_BYTES)
  for _, head in ipairs(heads) do
    local bucket, lows, names, lists = unpack(head)
    local grown = {} -- name, list, name, list ...
    for i = 1, #lows do
      local size = POSTING_BYTES * struct.unpack(">I2", blob, at_size)
      local list = lists[i] or ""
      local room = HEAD_BYTES - #list
      if room > 0 then
        grown[#grown + 1] = names[i]
        grown[#grown + 1] = list .. sub(blob, at, at + math.min(size, room) - 1)
      end
      if size > room then
        call("APPEND", tails .. bucket .. char(lows[i]), sub(blob, at + room, at + size - 1))
      end
      at_size, at = at_size + 2, at + size
    end
    if #grown > 0 then
      call("HSET", buckets .. bucket, unpack(grown))
    end
  end

  if chunk + 1 == n_chunks then
    call("HDEL", doing, unpack(ids))
    for _, id in ipairs(ids) do
      call("SETBIT", tracks, id, 1)
    end
  else
    local states = {}
    for _, id in ipairs(ids) do
      states[#states + 1] = id
      states[#states + 1] = name .. (chunk + 1)
    end
    call("HSET", doing, unpack(states))
  end
  return 1
end

-- removal: KEYS as add; ARGV track_id, 1 when all its postings are cut else 0. Until then nobody adds to the track.
local function removal(keys, args)
  local call = redis.call
  local tracks, doing = keys[1], keys[2]
  local track_id, is_done = args[1], args[2] == "1"
  call("SETBIT", tracks, track_id, 0)
  if is_done then
    call("HDEL", doing, track_id)
  else
    call("HSET", doing, track_id, REMOVING)
  end
  return 1
end

-- Postings and bytes of a list's code, if it is sealed; else nil.
local function sealed_of(head)
  local a, b, c, d = string.byte(head, 1, 4)
  if a == 0 and b == 0 and c == 0 and d == 0 then
    return struct.unpack(">I4I4", head, 5)
  end
end

-- Postings of a list.
local function size_of(head, tail_bytes)
  local n_sealed, n_bytes = sealed_of(head)
  if n_sealed then
    return n_sealed + (#head - MARKER_BYTES + tail_bytes - n_bytes) / POSTING_BYTES
  end
  return (#head + tail_bytes) / POSTING_BYTES
end

-- replace: KEYS n_postings, bucket prefix, tail prefix; ARGV packed replacements. Puts lists in the place of those that
-- still begin with what was read of them, and leaves behind them what was added since. Answers a 1 or a 0 for each.
local function replace(keys, args)
  local call, sub, char, byte, read = redis.call, string.sub, string.char, string.byte, struct.unpack
  local n_postings, buckets, tails = unpack(keys)
  local blob, stored = args[1], {}
  local at_head = each_bucket(blob, function(bucket, lows)
    local names = names_of(lows)
    local heads = call("HMGET", buckets .. bucket, unpack(names))
    for i = 1, #lows do
      local head, tail = heads[i] or "", tails .. bucket .. char(lows[i])
      local rest = (#head == HEAD_BYTES or sealed_of(head)) and call("GET", tail) or ""
      stored[#stored + 1] = { buckets .. bucket, names[i], tail, head, rest }
    end
  end)
  local n = #stored
  local at_tail, at_digest, at_size, at = at_head + n, at_head + 5 * n, at_head + 45 * n, at_head + 49 * n
  local done, n_more = {}, 0
  for i = 1, n do
    local bucket, name, tail, head, rest = unpack(stored[i])
    local n_head, n_tail = byte(blob, at_head + i - 1), read(">I4", blob, at_tail + 4 * (i - 1))
    local digest = sub(blob, at_digest + 40 * (i - 1), at_digest + 40 * i - 1)
    local size = read(">I4", blob, at_size + 4 * (i - 1))
    local new = sub(blob, at, at + size - 1)
    at = at + size
    local same = n_head <= #head and n_tail <= #rest
    same = same and redis.sha1hex(sub(head, 1, n_head) .. sub(rest, 1, n_tail)) == digest
    done[i] = same and "1" or "0"
    if same then
      local _, n_code = sealed_of(new)
      local n_marker = n_code and MARKER_BYTES or 0
      local code_end = n_marker + (n_code or 0)
      local added = sub(new, code_end + 1) .. sub(head, n_head + 1) .. sub(rest, n_tail + 1)
      local room = HEAD_BYTES - n_marker
      local new_head = sub(new, 1, n_marker) .. sub(added, 1, room)
      local new_rest = sub(new, n_marker + 1, code_end) .. sub(added, room + 1)
      if #new_head > 0 then
        call("HSET", bucket, name, new_head)
      else
        call("HDEL", bucket, name)
      end
      if #new_rest > 0 then
        call("SET", tail, new_rest)
      elseif #rest > 0 then
        call("DEL", tail)
      end
      n_more = n_more + size_of(new_head, #new_rest) - size_of(head, #rest)
    end
  end
  if n_more ~= 0 then
    call("INCRBY", n_postings, n_more)
  end
  return table.concat(done)
end

-- The longest lists that are still read when all together are more than `room` postings: the shortest go first. Answers
-- a length, and what room is left for lists of just that length.
local function longest_that_fits(sizes, room)
  local n_of, lengths = {}, {}
  for i = 1, #sizes do
    local size = sizes[i]
    if not n_of[size] then
      lengths[#lengths + 1] = size
    end
    n_of[size] = (n_of[size] or 0) + 1
  end
  table.sort(lengths)
  for i = 1, #lengths do
    local size = lengths[i]
    if size * n_of[size] > room then
      return size, room
    end
    room = room - size * n_of[size]
  end
end

-- lookup: KEYS n_postings, bucket prefix, tail prefix; ARGV max_postings_per_hash, max_postings, packed question.
-- Answers one string: the shard's n_postings (8 bytes), the length of each hash's list in the order asked (postings,
-- 4 bytes; plus LEFT_OUT where it is longer than max_postings_per_hash, or one of the longest that must stay out so that
-- all are at most max_postings), the lists.
-- The hottest loop of the server: it walks the question by itself, a third cheaper than through each_bucket.
local function lookup(keys, args)
  local call, byte, char, sub = redis.call, string.byte, string.char, string.sub
  local n_postings, buckets, tails = unpack(keys)
  local max_list, room, question = tonumber(args[1]), tonumber(args[2]), args[3]
  local n_buckets = struct.unpack(">I4", question)
  local at_n, at_low = 5 + 4 * n_buckets, 5 + 5 * n_buckets
  local sizes, heads, tail_of, n_sizes, total = {}, {}, {}, 0, 0
  for b = 0, n_buckets - 1 do
    local bucket, n, lists = sub(question, 5 + 4 * b, 8 + 4 * b), byte(question, at_n + b), nil
    if n == 1 then
      lists = { call("HGET", buckets .. bucket, FIELD[byte(question, at_low)]) }
    else
      lists = call("HMGET", buckets .. bucket, unpack(names_of({ byte(question, at_low, at_low + n - 1) })))
    end
    for i = 1, n do
      local list, size = lists[i], 0
      n_sizes = n_sizes + 1
      if list then
        size = #list / POSTING_BYTES
        local sealed = sealed_of(list)
        if sealed or #list == HEAD_BYTES then
          local tail = tails .. bucket .. char(byte(question, at_low + i - 1))
          size = size_of(list, call("STRLEN", tail))
          tail_of[n_sizes] = (sealed or size * POSTING_BYTES > HEAD_BYTES) and tail or nil
        end
        if size > max_list then
          size = size + LEFT_OUT
        else
          heads[n_sizes], total = list, total + size
        end
      end
      sizes[n_sizes] = size
    end
    at_low = at_low + n
  end

  local longest = LEFT_OUT
  if total > room then
    longest, room = longest_that_fits(sizes, room)
  end
  local found, n_found = {}, 0
  for i = 1, n_sizes do
    local list, size = heads[i], sizes[i]
    if list then
      if size > longest or (size == longest and size > room) then
        sizes[i] = size + LEFT_OUT
      else
        if size == longest then
          room = room - size
        end
        n_found = n_found + 1
        found[n_found] = tail_of[i] and list .. (call("GET", tail_of[i]) or "") or list
      end
    end
  end
  local n_indexed = struct.pack(">I8", tonumber(call("GET", n_postings) or 0))
  return n_indexed .. pack_u32(sizes) .. table.concat(found)
end

-- windows: KEYS the beginning of the keys of peaks; ARGV packed question (track_id, first and last block, 4 bytes each).
-- Answers columns as peaks.py draws them: headers, starts of the blocks asked, blocks. It reads the starts from the
-- first on: most tracks have a few dozen.
local function windows(keys, args)
  local call, sub, read = redis.call, string.sub, struct.unpack
  local prefix, question = keys[1], args[1]
  local headers, starts, blocks = {}, {}, {}
  for at = 1, #question, 12 do
    local first, last = read(">I4I4", question, at + 4)
    local key = prefix .. sub(question, at, at + 3)
    local packed = call("GETRANGE", key, 0, 4 * last + 11)
    local n = #headers + 1
    if #packed < 4 then
      headers[n] = NO_PEAKS
    else
      headers[n] = sub(packed, 1, 4)
      last = math.min(last, math.ceil(read(">I4", packed) % MAX_FRAMES / BLOCK_FRAMES) - 1)
      if first <= last then
        starts[#starts + 1] = sub(packed, 5 + 4 * first, 12 + 4 * last)
        local from, to = read(">I4", packed, 5 + 4 * first), read(">I4", packed, 9 + 4 * last)
        blocks[#blocks + 1] = from < to and call("GETRANGE", key, from, to - 1) or ""
      end
    end
  end
  return table.concat(headers) .. table.concat(starts) .. table.concat(blocks)
end

redis.register_function("fpserver_index_add", add)
redis.register_function("fpserver_index_removal", removal)
redis.register_function("fpserver_index_replace", replace)
redis.register_function({ function_name = "fpserver_index_lookup", callback = lookup, flags = { "no-writes" } })
redis.register_function({ function_name = "fpserver_index_windows", callback = windows, flags = { "no-writes" } })

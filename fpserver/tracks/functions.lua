#!lua name=fpserver_tracks

-- The state machine of a track. Every change of a status happens in this file, in one call together with its
-- counts, its batch's counts and its place in the backlog.
--
--                submit               claim, take_over              mark
--    (nothing) ──────────▶ queued ─────────────────────▶ indexing ──────────▶ indexed
--                          ▲ ▲  │ ◀───────────────────────┤  │  │ ──────────▶ failed
--                          │ │  │          retry          └──┘  │ ──────────▶ duplicate
--                          │ │  │                     take_over │
--                          │ │  └───────────────────────────────┴───────────▶ cancelled
--                          │ └──── submit ──── failed, cancelled, or duplicate of a track that is no more
--                          │
--    any status ── delete ─┴▶ deleting ── forget ──▶ (nothing)
--
-- `mark` also ends a track that is queued: its worker was taken for dead, gave it back, and ended it after all.
-- A track has a ticket, an entry of its place's stream, exactly while it is queued or indexing. An entry that is
-- not its track's ticket is worth nothing; it is removed by whoever comes upon it.
--
-- Beside it, an indexed track whose recording can be described waits in its place's `undescribed` until it is described,
-- or cannot be. Who copies what is described learns from `changes` what has changed, who copies all that is indexed from
-- `all_changes`; both number changes alike.
--
-- Keys: see keys.py. Each function has one key, the root of all others. Numbers and times arrive as text.
-- Functions may be sent twice (a connection that was lost): the second time changes nothing.

local GROUP = 'workers'
local STATUSES = {'queued', 'indexing', 'indexed', 'failed', 'duplicate', 'cancelled', 'deleting'}
local PENDING = {queued = true, indexing = true}
local LIVING = {queued = true, indexing = true, indexed = true}
local BATCH_KEPT_S = 7 * 24 * 3600   -- after its last change
local ANSWER_KEPT_S = 300            -- longer than any client tries again
local MAX_STALE = 100                -- entries removed in one call
local SEPARATOR = '\31'              -- between the pieces of a record's `search` (codec.py)
local N_SEARCHED = 5                 -- `q` looks at the pieces before the genre
local TAGS = 7                       -- piece of the tags; records of earlier versions have none

local function call(...) return redis.call(...) end   -- redis.call itself is not there yet while loading

local function key(root, ...)
  return table.concat({root, ...}, ':')
end

local function as_table(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function as_flat(fields)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  return flat
end

local function track_of(root, id)
  local flat = call('HGETALL', key(root, 'track', id))
  return #flat > 0 and as_table(flat) or nil
end

local function not_found(id)
  return redis.error_reply('TRACKNOTFOUND no track has the id ' .. id)
end

local function batch_not_found(id)
  return redis.error_reply('BATCHNOTFOUND no batch has the id ' .. id .. ', or it has expired')
end

-- A batch's own figures ---------------------------------------------------------------------------------------

-- Add to a batch's counts; a batch that has expired, or none, is passed over.
local function tally(root, batch, now, counts)
  if not batch or call('EXISTS', key(root, 'batch', batch)) == 0 then return end
  for name, change in pairs(counts) do
    if change ~= 0 then call('HINCRBY', key(root, 'batch', batch), name, change) end
  end
  call('HSET', key(root, 'batch', batch), 'updated_at', now)
  for _, name in ipairs({batch, batch .. ':tracks', batch .. ':errors'}) do
    call('EXPIRE', key(root, 'batch', name), BATCH_KEPT_S)
  end
end

local function note_error(root, batch, now, fault)
  local max_errors = batch and call('HGET', key(root, 'batch', batch), 'max_errors')
  if not max_errors then return end
  local errors = key(root, 'batch', batch, 'errors')
  if call('LLEN', errors) < tonumber(max_errors) then call('RPUSH', errors, cmsgpack.pack(fault)) end
  tally(root, batch, now, {})
end

local function is_cancelled(root, batch)
  return batch and call('HGET', key(root, 'batch', batch), 'cancelled') == '1'
end

-- What a person calls a track in a list of errors.
local function item_of(id, track)
  return track.source:match('^file:(.*)') or track.title or track.external_id or 'track ' .. id
end

-- Steps -------------------------------------------------------------------------------------------------------

-- Tell those who hold a copy of the catalogue that an indexed track is new, another, or no more.
local function tell(root, id, is_described)
  local number = call('INCR', key(root, 'n_changes'))
  call('ZADD', key(root, 'all_changes'), number, id)
  if is_described or call('ZSCORE', key(root, 'changes'), id) then call('ZADD', key(root, 'changes'), number, id) end
end

local function tell_if_known(root, id)
  if call('ZSCORE', key(root, 'all_changes'), id) or call('ZSCORE', key(root, 'changes'), id) then
    tell(root, id, false)
  end
end

local function wait_for_description(root, id, place, now)
  call('HSET', key(root, 'track', id), 'description', 'waiting', 'describe_attempts', 0)
  call('ZADD', key(root, 'undescribed', place), now, id)
end

local function end_description(root, id, track, fields)
  call('ZREM', key(root, 'undescribed', track.place), id)
  call('HDEL', key(root, 'track', id), 'describe_attempts')
  call('HSET', key(root, 'track', id), unpack(as_flat(fields)))
end

-- The one place where a status changes.
local function move(root, id, track, to, now)
  local from = track.status
  if from then
    call('ZREM', key(root, 'status', from), id)
    tally(root, track.batch_id, now, {['n:' .. from] = -1})
  end
  call('ZADD', key(root, 'status', to), id, id)
  call('HSET', key(root, 'track', id), 'status', to, 'updated_at', now)
  tally(root, track.batch_id, now, {['n:' .. to] = 1})
  track.status = to
end

local function remove_entry(stream, entry)
  call('XACK', stream, GROUP, entry)
  call('XDEL', stream, entry)
end

local function give_ticket(root, id, track)
  local stream = key(root, 'backlog', track.place)
  if call('EXISTS', stream) == 0 then
    call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    call('SADD', key(root, 'places'), track.place)
  end
  track.ticket = call('XADD', stream, '*', 'track', id)
  call('HSET', key(root, 'track', id), 'ticket', track.ticket)
end

local function take_ticket(root, id, track)
  if not track.ticket then return end
  remove_entry(key(root, 'backlog', track.place), track.ticket)
  call('HDEL', key(root, 'track', id), 'ticket')
  track.ticket = nil
end

local function leave(root, id, track, to, now)
  take_ticket(root, id, track)
  move(root, id, track, to, now)
end

local function fail(root, id, track, code, message, now)
  call('HSET', key(root, 'track', id), 'error_code', code, 'error_message', message)
  leave(root, id, track, 'failed', now)
  note_error(root, track.batch_id, now,
    {item = item_of(id, track), code = code, message = message, track_id = tonumber(id)})
end

-- The living track that stands for `id`: itself, or the one it is a duplicate of; nil when neither lives.
local function living(root, id)
  local status, of = unpack(call('HMGET', key(root, 'track', id), 'status', 'duplicate_of'))
  if status == 'duplicate' and of then
    id, status = of, call('HGET', key(root, 'track', of), 'status')
  end
  if status and LIVING[status] then return id, status end
end

-- Catalogue ---------------------------------------------------------------------------------------------------

local function offer(root, now, batch, fields)
  local id = call('HGET', key(root, 'content'), fields.content_sha256)
  local track, before = {}, nil
  if id then
    local standing, status = living(root, id)
    if standing then
      tally(root, batch, now, {n_items = 1, ['n:duplicate'] = 1})
      return {tonumber(standing), status, 1}
    end
    before = track_of(root, id)
  end
  if before and before.status ~= 'deleting' then   -- failed, cancelled, …: the same track, once more
    if before.batch_id then call('ZREM', key(root, 'batch', before.batch_id, 'tracks'), id) end
    call('ZREM', key(root, 'status', before.status), id)
    call('DEL', key(root, 'track', id))
    fields.created_at = before.created_at
  else
    id = tostring(call('INCR', key(root, 'next_id')))
    call('HSET', key(root, 'content'), fields.content_sha256, id)
    fields.created_at = now
  end
  fields.batch_id = batch
  for name, value in pairs(fields) do track[name] = value end
  call('HSET', key(root, 'track', id), 'attempts', 0, unpack(as_flat(fields)))
  if batch then
    call('ZADD', key(root, 'batch', batch, 'tracks'), id, id)
    tally(root, batch, now, {n_items = 1})
  end
  give_ticket(root, id, track)
  move(root, id, track, 'queued', now)
  return {tonumber(id), 'queued', 0}
end

-- args: now, batch or '', nonce, msgpack of a list of records → rows of {id, status, 1 if duplicate}
local function submit(keys, args)
  local root, now, batch = keys[1], args[1], args[2] ~= '' and args[2] or nil
  local request = key(root, 'request', args[3])
  local answered = call('GET', request)
  if answered then return cmsgpack.unpack(answered) end
  if batch and call('EXISTS', key(root, 'batch', batch)) == 0 then return batch_not_found(batch) end
  if is_cancelled(root, batch) then
    return redis.error_reply('CONFLICT batch ' .. batch .. ' is cancelled: it takes no more tracks')
  end
  local rows = {}
  for i, fields in ipairs(cmsgpack.unpack(args[4])) do rows[i] = offer(root, now, batch, fields) end
  call('SET', request, cmsgpack.pack(rows), 'EX', ANSWER_KEPT_S)
  return rows
end

-- args: SHA-256 of files … → for each the id of the living track, or 0
local function known(keys, args)
  local ids = {}
  for i, sha256 in ipairs(args) do
    local id = call('HGET', key(keys[1], 'content'), sha256)
    ids[i] = id and tonumber(living(keys[1], id) or 0) or 0
  end
  return ids
end

-- args: ids … → rows of {id, record}
local function read(keys, args)
  local rows = {}
  for _, id in ipairs(args) do
    local flat = call('HGETALL', key(keys[1], 'track', id))
    if #flat > 0 then rows[#rows + 1] = {tonumber(id), flat} end
  end
  return rows
end

-- args: ids, packed as u32 little endian → those that are no tracks; one that is being deleted is none
local function missing(keys, args)
  local packed, absent = args[1], {}
  for at = 1, #packed, 4 do
    local id = string.format('%d', (struct.unpack('<I4', packed, at)))
    local status = call('HGET', key(keys[1], 'track', id), 'status')
    if not status or status == 'deleting' then absent[#absent + 1] = tonumber(id) end
  end
  return absent
end

local function pieces_of(search)
  local pieces = {}
  for piece in (search .. SEPARATOR):gmatch('([^' .. SEPARATOR .. ']*)' .. SEPARATOR) do
    pieces[#pieces + 1] = piece
  end
  return pieces
end

local function matches(root, id, filter)
  local status, batch, search = unpack(call('HMGET', key(root, 'track', id), 'status', 'batch_id', 'search'))
  if not status or (filter.status and status ~= filter.status) then return false end
  if filter.batch_id and batch ~= filter.batch_id then return false end
  local pieces = pieces_of(search)
  for i, wanted in pairs(filter.equal) do
    if pieces[i] ~= wanted then return false end
  end
  if filter.tag and not (pieces[TAGS] or ''):find(filter.tag, 1, true) then return false end
  if not filter.q then return true end
  for i = 1, N_SEARCHED do
    if pieces[i]:find(filter.q, 1, true) then return true end
  end
  return false
end

-- Whether a track's facts lie in the ranges {name → {least or false, most or false}}; one that is not known does not.
local function lies_within(root, id, ranges)
  for name, range in pairs(ranges) do
    local value = tonumber(call('HGET', key(root, 'track', id), 'fact:' .. name) or nil)
    if not value then return false end
    if range[1] and value < range[1] then return false end
    if range[2] and value > range[2] then return false end
  end
  return true
end

-- At most n ids after `after`, ascending, from the smallest set that holds all that can match.
local function ids_after(root, after, n, filter)
  local sets = {}
  if filter.batch_id then
    sets[1] = key(root, 'batch', filter.batch_id, 'tracks')
  elseif filter.status then
    sets[1] = key(root, 'status', filter.status)
  else
    for i, status in ipairs(STATUSES) do sets[i] = key(root, 'status', status) end
  end
  local ids = {}
  for _, set in ipairs(sets) do
    for _, id in ipairs(call('ZRANGEBYSCORE', set, '(' .. after, '+inf', 'LIMIT', 0, n)) do
      ids[#ids + 1] = tonumber(id)
    end
  end
  if #sets > 1 then table.sort(ids) end
  return ids
end

-- args: after, limit, most to examine, msgpack of the filter → {rows of {id, record}, last id examined, 1 if more}
local function page(keys, args)
  local root, after, limit, n_examined = keys[1], args[1], tonumber(args[2]), tonumber(args[3])
  local filter = cmsgpack.unpack(args[4])
  local sifts = filter.q or filter.tag or next(filter.equal) or next(filter.ranges) or (filter.batch_id and filter.status)
  if not sifts then n_examined = math.min(n_examined, limit) end
  local ids, rows, last = ids_after(root, after, n_examined + 1, filter), {}, tonumber(after)
  for i = 1, math.min(#ids, n_examined) do
    last = ids[i]
    if matches(root, last, filter) and lies_within(root, last, filter.ranges) then
      rows[#rows + 1] = {last, call('HGETALL', key(root, 'track', last))}
      if #rows == limit then break end
    end
  end
  return {rows, last, #ids > 0 and ids[#ids] > last and 1 or 0}
end

-- args: after, most to examine → {flat list of id, external id; last id examined, 1 if more}
local function external_ids(keys, args)
  local root, after, n_examined = keys[1], args[1], tonumber(args[2])
  local ids, flat, last = ids_after(root, after, n_examined + 1, {}), {}, tonumber(after)
  for i = 1, math.min(#ids, n_examined) do
    last = ids[i]
    local status, external = unpack(call('HMGET', key(root, 'track', last), 'status', 'external_id'))
    if external and status ~= 'deleting' then
      flat[#flat + 1] = last
      flat[#flat + 1] = external
    end
  end
  return {flat, last, #ids > n_examined and 1 or 0}
end

-- Whether changes {set = {name → value}, drop = {name …}, …} of a track's metadata change anything.
local function differs(track, changes)
  for name, value in pairs(changes.set) do
    if track[name] ~= value then return true end
  end
  for _, name in ipairs(changes.drop) do
    if track[name] then return true end
  end
  return false
end

local function change(root, id, track, changes, now)
  local pieces = pieces_of(track.search)
  for i, piece in pairs(changes.pieces) do pieces[i] = piece end
  changes.set.search = table.concat(pieces, SEPARATOR)
  changes.set.updated_at = now
  call('HSET', key(root, 'track', id), unpack(as_flat(changes.set)))
  if #changes.drop > 0 then call('HDEL', key(root, 'track', id), unpack(changes.drop)) end
  tell_if_known(root, id)
end

-- args: id, now, msgpack of {set = {name → value}, drop = {name …}, pieces = {index → folded}} → {id, record}
local function edit(keys, args)
  local root, id, now, changes = keys[1], args[1], args[2], cmsgpack.unpack(args[3])
  local track = track_of(root, id)
  if not track then return not_found(id) end
  change(root, id, track, changes, now)
  return {tonumber(id), call('HGETALL', key(root, 'track', id))}
end

-- args: now, msgpack of a list of changes as of `edit`, each with an id → for each 'none' (there is no such track),
-- 'same' (nothing to change) or 'changed'
local function edit_all(keys, args)
  local root, now, outcomes = keys[1], args[1], {}
  for i, changes in ipairs(cmsgpack.unpack(args[2])) do
    local id = string.format('%d', changes.id)
    local track = track_of(root, id)
    if not track or track.status == 'deleting' then
      outcomes[i] = 'none'
    elseif not differs(track, changes) then
      outcomes[i] = 'same'
    else
      change(root, id, track, changes, now)
      outcomes[i] = 'changed'
    end
  end
  return outcomes
end

-- args: id, SHA-256 → the id of the track that holds this audio: this one, or an earlier one that lives
local function claim_audio(keys, args)
  local root, id, sha256 = keys[1], args[1], args[2]
  if call('EXISTS', key(root, 'track', id)) == 0 then return not_found(id) end
  local holder = call('HGET', key(root, 'audio'), sha256)
  if holder and holder ~= id then
    local status = call('HGET', key(root, 'track', holder), 'status')
    if status and LIVING[status] then return tonumber(holder) end
  end
  call('HSET', key(root, 'audio'), sha256, id)
  call('HSET', key(root, 'track', id), 'audio_sha256', sha256)
  return tonumber(id)
end

-- args: id, now, indexed | failed | duplicate, msgpack of fields → 1, or 0 when the track is not to be done any more
-- An indexed track whose field `description` is "waiting" is to be described.
local function mark(keys, args)
  local root, id, now, to, fields = keys[1], args[1], args[2], args[3], cmsgpack.unpack(args[4])
  local track = track_of(root, id)
  if not track then return 0 end
  if track.status == to then return 1 end
  if not PENDING[track.status] then return 0 end
  if to == 'failed' then
    fail(root, id, track, fields.error_code, fields.error_message, now)
    return 1
  end
  call('HSET', key(root, 'track', id), unpack(as_flat(fields)))
  leave(root, id, track, to, now)
  if fields.description == 'waiting' then wait_for_description(root, id, track.place, now) end
  if to == 'indexed' then tell(root, id, false) end
  if to == 'indexed' and track.batch_id and call('EXISTS', key(root, 'batch', track.batch_id)) == 1 then
    call('HINCRBYFLOAT', key(root, 'batch', track.batch_id), 'audio_s', fields.duration_s)
  end
  return 1
end

-- args: id, now → {id, record}
local function delete(keys, args)
  local root, id, now = keys[1], args[1], args[2]
  local track = track_of(root, id)
  if not track then return not_found(id) end
  if track.status ~= 'deleting' then
    leave(root, id, track, 'deleting', now)
    call('ZREM', key(root, 'undescribed', track.place), id)
    tell_if_known(root, id)
  end
  return {tonumber(id), call('HGETALL', key(root, 'track', id))}
end

-- args: id, now → 1, or 0 when there is no such track, or it is not being deleted
local function forget(keys, args)
  local root, id, now = keys[1], args[1], args[2]
  local track = track_of(root, id)
  if not track or track.status ~= 'deleting' then return 0 end
  for lookup, sha256 in pairs({content = track.content_sha256, audio = track.audio_sha256}) do
    if call('HGET', key(root, lookup), sha256) == id then call('HDEL', key(root, lookup), sha256) end
  end
  if track.batch_id then call('ZREM', key(root, 'batch', track.batch_id, 'tracks'), id) end
  call('ZREM', key(root, 'status', 'deleting'), id)
  call('DEL', key(root, 'track', id))
  return 1
end

-- Descriptions ------------------------------------------------------------------------------------------------

-- args: id, now → 1, or 0 when the track is not indexed: nothing to describe
local function want_description(keys, args)
  local root, id, now = keys[1], args[1], args[2]
  local status, place = unpack(call('HMGET', key(root, 'track', id), 'status', 'place'))
  if status ~= 'indexed' then return 0 end
  wait_for_description(root, id, place, now)
  return 1
end

-- args: place, now, seconds until somebody else may take it, most attempts → {id, record}, or nil: nothing to do now
local function claim_description(keys, args)
  local root, place, now, lease_s, max_attempts = keys[1], args[1], args[2], args[3], tonumber(args[4])
  local waiting = key(root, 'undescribed', place)
  for _ = 1, MAX_STALE do
    local id = call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, 1)[1]
    if not id then return nil end
    local track = track_of(root, id)
    if not track or track.status ~= 'indexed' then
      call('ZREM', waiting, id)
    elseif tonumber(track.describe_attempts or 0) >= max_attempts then
      end_description(root, id, track, {description = 'failed', description_code = 'attempts_exhausted',
        description_message = 'the worker that described track ' .. id .. ' died ' .. max_attempts .. ' times'})
    else
      call('HINCRBY', key(root, 'track', id), 'describe_attempts', 1)
      call('ZADD', waiting, tonumber(now) + tonumber(lease_s), id)
      return {tonumber(id), call('HGETALL', key(root, 'track', id))}
    end
  end
end

-- args: place, until, ids … → those that still wait, taken until then
local function renew_descriptions(keys, args)
  local waiting, held = key(keys[1], 'undescribed', args[1]), {}
  for i = 3, #args do
    if call('ZSCORE', waiting, args[i]) then
      call('ZADD', waiting, args[2], args[i])
      held[#held + 1] = tonumber(args[i])
    end
  end
  return held
end

-- args: place, now, ids … : begun, and not ended; nobody's fault
local function give_back_descriptions(keys, args)
  local waiting = key(keys[1], 'undescribed', args[1])
  for i = 3, #args do
    if call('ZSCORE', waiting, args[i]) then
      call('ZADD', waiting, args[2], args[i])
      call('HINCRBY', key(keys[1], 'track', args[i]), 'describe_attempts', -1)
    end
  end
  return 1
end

-- args: id, now, msgpack of fields (facts as "fact:<name>") → 1, or 0 when the track is not indexed any more
local function mark_described(keys, args)
  local root, id, now, fields = keys[1], args[1], args[2], cmsgpack.unpack(args[3])
  local track = track_of(root, id)
  if not track or track.status ~= 'indexed' then return 0 end
  for name in pairs(track) do
    if name:find('^fact:') or name:find('^description_') or name == 'key' or name == 'described' then
      call('HDEL', key(root, 'track', id), name)
    end
  end
  fields.description, fields.updated_at = 'done', now
  end_description(root, id, track, fields)
  tell(root, id, true)
  return 1
end

-- args: id, failed | no_audio, code, message → 1, or 0 when the track is not indexed any more
local function mark_undescribable(keys, args)
  local root, id = keys[1], args[1]
  local track = track_of(root, id)
  if not track or track.status ~= 'indexed' then return 0 end
  end_description(root, id, track,
    {description = args[2], description_code = args[3], description_message = args[4]})
  return 1
end

-- args: changes | all_changes, after, most → flat list of id, number of its last change, ascending by that
local function changes(keys, args)
  local log = key(keys[1], args[1])
  return call('ZRANGEBYSCORE', log, '(' .. args[2], '+inf', 'WITHSCORES', 'LIMIT', 0, args[3])
end

-- args: after, most to examine → {how many indexed tracks `all_changes` had not told of, last id examined, 1 if more}
local function tell_of_all(keys, args)
  local root, after, n_examined = keys[1], args[1], tonumber(args[2])
  local ids, n_told, last = ids_after(root, after, n_examined, {status = 'indexed'}), 0, after
  for _, number in ipairs(ids) do
    last = string.format('%d', number)
    if not call('ZSCORE', key(root, 'all_changes'), last) then
      tell(root, last, false)
      n_told = n_told + 1
    end
  end
  return {n_told, tonumber(last), #ids == n_examined and 1 or 0}
end

-- → flat list of status, count
local function counts(keys)
  local flat = {}
  for _, status in ipairs(STATUSES) do
    flat[#flat + 1] = status
    flat[#flat + 1] = call('ZCARD', key(keys[1], 'status', status))
  end
  return flat
end

-- Batches, from outside ---------------------------------------------------------------------------------------

-- args: id, now, most errors to keep
local function create_batch(keys, args)
  local root, batch, now, max_errors = keys[1], args[1], args[2], args[3]
  call('HSETNX', key(root, 'batch', batch), 'created_at', now)
  call('HSET', key(root, 'batch', batch), 'max_errors', max_errors)
  tally(root, batch, now, {})
  return 1
end

-- args: id → {figures, errors}
local function batch(keys, args)
  local root, id = keys[1], args[1]
  local figures = call('HGETALL', key(root, 'batch', id))
  if #figures == 0 then return batch_not_found(id) end
  return {figures, call('LRANGE', key(root, 'batch', id, 'errors'), 0, -1)}
end

-- args: id, now, nonce, msgpack of {item, code, message}: an item of a batch that never became a track
local function batch_error(keys, args)
  local root, batch, now = keys[1], args[1], args[2]
  if call('EXISTS', key(root, 'batch', batch)) == 0 then return batch_not_found(batch) end
  if call('SET', key(root, 'request', args[3]), '', 'NX', 'EX', ANSWER_KEPT_S) then
    tally(root, batch, now, {n_items = 1, ['n:failed'] = 1})
    note_error(root, batch, now, cmsgpack.unpack(args[4]))
  end
  return 1
end

-- args: id, now, after, most to examine → {cancelled now, last id examined, 1 if more}
local function cancel_batch(keys, args)
  local root, batch, now, after, limit = keys[1], args[1], args[2], args[3], tonumber(args[4])
  if call('EXISTS', key(root, 'batch', batch)) == 0 then return batch_not_found(batch) end
  call('HSET', key(root, 'batch', batch), 'cancelled', 1)
  tally(root, batch, now, {})
  local ids = ids_after(root, after, limit, {batch_id = batch})
  local n_cancelled = 0
  for _, number in ipairs(ids) do
    local id = tostring(number)
    local track = track_of(root, id)
    if track and PENDING[track.status] then
      leave(root, id, track, 'cancelled', now)
      n_cancelled = n_cancelled + 1
    end
  end
  return {n_cancelled, ids[#ids] or 0, #ids == limit and 1 or 0}
end

-- Backlog -----------------------------------------------------------------------------------------------------

-- Give the track of an entry to a worker: {ticket, id, record}; nil when it is not to be done (any more).
local function start(root, stream, entry, now)
  local ticket, id = entry[1], entry[2] and entry[2][2]
  local track = id and track_of(root, id)
  if not track or track.ticket ~= ticket then
    remove_entry(stream, ticket)
    return nil
  end
  if is_cancelled(root, track.batch_id) then
    leave(root, id, track, 'cancelled', now)
    return nil
  end
  call('HINCRBY', key(root, 'track', id), 'attempts', 1)
  if track.status ~= 'indexing' then move(root, id, track, 'indexing', now) end
  return {ticket, tonumber(id), call('HGETALL', key(root, 'track', id))}
end

-- args: place, consumer, now → {ticket, id, record}, or the id of the last entry, after which to wait for another
local function claim(keys, args)
  local root, consumer, now = keys[1], args[2], args[3]
  local stream = key(root, 'backlog', args[1])
  if call('EXISTS', stream) == 0 then return '0-0' end
  for _ = 1, MAX_STALE do
    local reply = call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
    if not reply then return as_table(call('XINFO', 'STREAM', stream))['last-generated-id'] end
    local claimed = start(root, stream, reply[1][2][1], now)
    if claimed then return claimed end
  end
  return '0-0'   -- not at the end: come again
end

-- Consumers that hold nothing and have not been heard of for long.
local function remove_idle_consumers(stream, idle_ms)
  for _, flat in ipairs(call('XINFO', 'CONSUMERS', stream, GROUP)) do
    local consumer = as_table(flat)
    if consumer.pending == 0 and consumer.idle > idle_ms then
      call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer.name)
    end
  end
end

-- args: place, consumer, now, idle ms, most deaths, idle ms of a forgotten consumer → {ticket, id, record} or nil
local function take_over(keys, args)
  local root, consumer, now, idle_ms, max_deaths = keys[1], args[2], args[3], args[4], tonumber(args[5])
  local stream = key(root, 'backlog', args[1])
  if call('EXISTS', stream) == 0 then return nil end
  remove_idle_consumers(stream, tonumber(args[6]))
  local cursor = '0-0'
  for _ = 1, MAX_STALE do
    local reply = call('XAUTOCLAIM', stream, GROUP, consumer, idle_ms, cursor, 'COUNT', 1)
    local entry = reply[2][1]
    cursor = reply[1]
    if entry then
      local id = entry[2][2]
      local claimed = start(root, stream, entry, now)
      if claimed then
        local deaths = call('HINCRBY', key(root, 'track', id), 'deaths', 1)
        if deaths < max_deaths then return claimed end
        fail(root, id, track_of(root, id), 'attempts_exhausted',
          'the worker of track ' .. id .. ' died ' .. deaths .. ' times, the most is ' .. max_deaths, now)
      end
    end
    if cursor == '0-0' then return nil end
  end
end

-- args: place, consumer, tickets … → those that this consumer (still) holds, heard of now
local function renew(keys, args)
  local stream, consumer = key(keys[1], 'backlog', args[1]), args[2]
  local held = {}
  if call('EXISTS', stream) == 0 then return held end
  for i = 3, #args do
    local pending = call('XPENDING', stream, GROUP, args[i], args[i], 1)[1]
    if pending and pending[2] == consumer then
      call('XCLAIM', stream, GROUP, consumer, 0, args[i], 'JUSTID')
      held[#held + 1] = args[i]
    end
  end
  return held
end

-- args: place, ticket → 1 when the entry is gone, 0 when its track has not ended and so keeps it
local function finish(keys, args)
  local root, ticket = keys[1], args[2]
  local stream = key(root, 'backlog', args[1])
  local entry = call('XRANGE', stream, ticket, ticket)[1]
  if not entry then return 1 end
  if call('HGET', key(root, 'track', entry[2][2]), 'ticket') == ticket then return 0 end
  remove_entry(stream, ticket)
  return 1
end

-- args: id, ticket, now → 1 when the track is queued again, 0 when the ticket is no longer its
local function retry(keys, args)
  local root, id, ticket, now = keys[1], args[1], args[2], args[3]
  local track = track_of(root, id)
  if not track or track.ticket ~= ticket or track.status ~= 'indexing' then return 0 end
  take_ticket(root, id, track)
  give_ticket(root, id, track)
  move(root, id, track, 'queued', now)
  return 1
end

-- → flat list of place, tickets
local function depth(keys)
  local flat = {}
  for _, place in ipairs(call('SMEMBERS', key(keys[1], 'places'))) do
    flat[#flat + 1] = place
    flat[#flat + 1] = call('XLEN', key(keys[1], 'backlog', place))
  end
  return flat
end

-- args: ms → flat list of place, consumers that were heard of within so long
local function workers(keys, args)
  local flat = {}
  for _, place in ipairs(call('SMEMBERS', key(keys[1], 'places'))) do
    local stream, n = key(keys[1], 'backlog', place), 0
    if call('EXISTS', stream) == 1 then
      for _, consumer in ipairs(call('XINFO', 'CONSUMERS', stream, GROUP)) do
        if as_table(consumer).idle <= tonumber(args[1]) then n = n + 1 end
      end
    end
    flat[#flat + 1] = place
    flat[#flat + 1] = n
  end
  return flat
end

local function reads(name, callback)
  redis.register_function{function_name = name, callback = callback, flags = {'no-writes'}}
end

redis.register_function('tracks_submit', submit)
redis.register_function('tracks_edit', edit)
redis.register_function('tracks_edit_all', edit_all)
redis.register_function('tracks_claim_audio', claim_audio)
redis.register_function('tracks_mark', mark)
redis.register_function('tracks_delete', delete)
redis.register_function('tracks_forget', forget)
redis.register_function('tracks_create_batch', create_batch)
redis.register_function('tracks_batch_error', batch_error)
redis.register_function('tracks_cancel_batch', cancel_batch)
redis.register_function('tracks_claim', claim)
redis.register_function('tracks_take_over', take_over)
redis.register_function('tracks_renew', renew)
redis.register_function('tracks_finish', finish)
redis.register_function('tracks_retry', retry)
redis.register_function('tracks_want_description', want_description)
redis.register_function('tracks_claim_description', claim_description)
redis.register_function('tracks_renew_descriptions', renew_descriptions)
redis.register_function('tracks_give_back_descriptions', give_back_descriptions)
redis.register_function('tracks_mark_described', mark_described)
redis.register_function('tracks_mark_undescribable', mark_undescribable)
redis.register_function('tracks_tell_of_all', tell_of_all)
reads('tracks_changes', changes)
reads('tracks_known', known)
reads('tracks_read', read)
reads('tracks_missing', missing)
reads('tracks_page', page)
reads('tracks_external_ids', external_ids)
reads('tracks_counts', counts)
reads('tracks_batch', batch)
reads('tracks_depth', depth)
reads('tracks_workers', workers)

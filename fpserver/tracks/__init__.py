"""I have a track id. What is it, and how far has it come?

In: recordings offered to the catalogue, and what workers say of them. Out: records of tracks, claims,
batches. Invariant: a track has one status, and it is in the backlog exactly while that status is queued or
indexing; both, and every count of them, change in one server-side function (functions.lua).
"""

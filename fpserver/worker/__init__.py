"""I have a backlog. Who takes the next track?

In: tracks that are queued. Out: the same tracks, each ended once: indexed, duplicate, failed with a reason.
Invariant: a track is let go only when the store knows how it ended; what dies before that is done again.
"""

"""The demo: its own songs, a degraded clip of one of them, and the whole walk over HTTP.

In: nothing, or a folder of music. Out: an answer a person enjoys, and a running server.
Invariant: the same seed is always the same song, to the sample.
"""

"""I have bytes or a path. Give me samples.

In: a file nobody vouches for. Out: `Sound` (mono float32 at the rate asked for), or one `AudioError` that
says why not. Always true: time, memory and length are bounded by the caller's limits whatever the file says
about itself, and no other file is ever opened on its behalf.
"""

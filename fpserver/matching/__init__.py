"""I have hits. Which track is it, where, how fast, and how sure are we?

In: postings found for a clip's hashes, the clip's dense constellation, candidates' stored constellations.
Out: matches with a score and the expected rate of false accepts. Pure: no I/O, no clock, no randomness.
"""

"""I have hashes. Which tracks hold them, and where?

In: fingerprints to keep, hashes to look up. Out: postings as columns, peaks by track.
Always true: no posting is written twice, however often an `add` is repeated; an answer from which a shard is
missing says so.
"""

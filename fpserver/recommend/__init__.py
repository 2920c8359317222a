"""Recommendation: I have somebody's taste. What next?

In: what somebody has heard and liked, and what is known of all tracks. Out: tracks, best first, each with its reasons.
The same taste, shelf, model and seed give the same answer. Models are pure; feedback and trained models lie in Redis.
"""

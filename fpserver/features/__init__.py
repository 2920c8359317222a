"""I have samples. What does it sound like?

In: mono samples at 22,050 Hz. Out: a `Description`: descriptor vectors by group, facts to filter by, moments.
Pure: the same samples give the same bytes, and no number of a description is NaN or infinite.
"""

"""I have samples. Give me landmarks, hashes and the constellation.

In: mono samples at the analysis rate. Out: a dense constellation (what a clip asks with), thinned and paired
into a fingerprint (what a track is kept as). Pure: the same samples give the same bytes.
"""

"""Somebody shows a key. Who is it, and may they ask for this, now?

In: the key as it came, and the scopes that would do. Out: whose it is and what is left of its limits, or what is
wrong with it.
Invariant: secrets are kept only as their digests, and all processes count one key's requests together.
"""

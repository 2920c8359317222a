"""I have a store. Give me a folder from which it can be had again.

In: an open store, also one that is being written to. Out: a folder of one RDB per master and a manifest; and from
such a folder a store of any shape: embedded, one server, a Cluster of another size.
Invariant: a folder with a manifest is a whole backup of one moment, and a store with a stamp is a whole store.
"""

"""I have a URL. Give me a Redis client.

In: `[redis]` of the settings. Out: an open client, closed again at the end, and function libraries loaded.
Invariant: no wait is endless, and a folder has at most one embedded server, whoever starts it.
"""

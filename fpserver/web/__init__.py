"""Street door: people and programs with clips and catalogues, over HTTP.

In: requests of docs/api.md. Out: JSON or msgpack documents, event streams, metrics.
Invariant: every answer carries its request id, every refusal is the one error body, and no upload outlives its
request unless it became a track.
"""

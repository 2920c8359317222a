"""I have many files. What became of each?

In: files, and a catalogue (a running server's, or the configured store's). Out: a report that counts every file.
Invariant: a file whose bytes the catalogue holds is not sent again, however a run before this one ended.
"""

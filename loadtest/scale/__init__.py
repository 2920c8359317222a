"""Whether real clips are still found when their tracks are hidden among very many synthetic ones, and what it costs.

synthetic   tracks that no music is, made of real ones
stock       fingerprints of many tracks on disk, ordered for an index that is written at once
among       a store with so many tracks in it, and clips asked of it as the server asks
heard       what is asked about and what is asked: real tracks and clips
fit         how like real tracks the synthetic ones are, from columns
fitting     the same, measured
figures     what was measured, by size and cell; promises kept and broken
page        the same for people, and a plot
density     accuracy over bytes among synthetic tracks
"""

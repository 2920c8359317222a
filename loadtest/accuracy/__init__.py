"""How well the system hears, beside its peers: degraded clips of real music, asked of all on the same samples.

cells       the grid: what is done to clips, as data
degrade     what is done to them: sound in, sound out
sounds      sounds that are no music: noise, claps, tones, hum
clips       a cell and a number into a clip and its truth
answers     what a system said of a clip, kept in a file
peer_*      the systems that are asked
published   a peer's answers taken from the table of an earlier run
run         every clip to every system, on several processes, continued where it stopped
judge       what counts as right
waveforms   whether a clip and the track that was named hold the same recording
statistics  intervals, paired differences, fitted curves
figures     all that is measured, by cell and system
page        the same for people; plots beside it
alone       times of one clip at a time
bytes_curve accuracy over index size
"""

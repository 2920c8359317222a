"""I have a vector. Which vectors of the catalogue are near?

`engine.py` says what an engine must do, `opening.py` lists those there are; one contract test runs on each.
"""

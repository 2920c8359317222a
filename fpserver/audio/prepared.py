"""Importing this has the loop of the loudness meter compiled, or read from where it was kept.

The fork server of the decoding processes does, once; its children find it ready.
"""

import numpy as np

from fpserver.audio.loudness import LoudnessMeter

LoudnessMeter().hear(np.zeros((2, 48_000), np.float32), 48_000)

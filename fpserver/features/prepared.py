"""Importing this has the loops of the description compiled, or read from where they were kept.

The fork server of the decoding processes does, once; its children find them ready.
"""

import numpy as np

from fpserver.descriptors import RATE_HZ
from fpserver.features.describe import describe
from fpserver.terms import PARTS

_CLICKS = np.zeros(RATE_HZ, np.float32)
_CLICKS[:: RATE_HZ // 4] = 0.5
describe(_CLICKS, parts=PARTS, loudness_db=-20.0)

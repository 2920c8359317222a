"""Importing this has the loops of the extraction compiled, or read from where they were kept.

The fork server of the decoding processes does, once; its children find them ready.
"""

import numpy as np

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import constellation_of

constellation_of(np.zeros(FingerprintConfig().window, np.float32), FingerprintConfig())

"""Integrated loudness of a recording, measured while it is decoded: from all its channels, at its own rate.

Each channel passes the K filter (a shelf for the head, a high-pass); its mean square in blocks of 400 ms, four a
block's length, is weighted and added over the channels; the blocks that pass both gates (−70 LUFS, and 10 LU below the
mean of those) are averaged. ITU-R BS.1770-4.

Channels count 1, but in 5.1 and 7.1 (FFmpeg's order: left, right, centre, LFE, then surrounds) the LFE counts 0 and
the surrounds 1.41. One channel counts once: a mono file reads 3 LU less than the same in both channels of a stereo
file, as in the standard and in FFmpeg.

The filter for any rate: De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018.
"""

from math import inf

import numpy as np
import numpy.typing as npt

from fpserver.audio.downmix import MAX_CHANNELS, Channels
from fpserver.compiling import compiled

STEP_S = 0.1
STEPS_PER_BLOCK = 4
ABSOLUTE_GATE_DB = -70.0
RELATIVE_GATE_DB = -10.0
OFFSET_DB = -0.691  # so that a 997 Hz sine of full scale in one channel reads −3.01 LUFS
SURROUND = 1.41
_WEIGHTS = {6: (1, 1, 1, 0, SURROUND, SURROUND), 8: (1, 1, 1, 0, *(SURROUND,) * 4)}

SHELF_HZ, SHELF_DB, SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
SHELF_BEND = 0.4996667741545416  # exponent of the gain at the shelf's middle
HIGH_PASS_HZ, HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773
N_STATES = 4

Floats = npt.NDArray[np.float64]


class LoudnessMeter:
    """Hears blocks of one recording, one after the other."""

    def __init__(self) -> None:
        self._rate_hz = 0
        self._coefficients = np.zeros((2, 5))
        self._states = np.zeros((MAX_CHANNELS, N_STATES))
        self._n_done = 0  # samples of the step that is not full yet, and
        self._squares = np.zeros(MAX_CHANNELS)  # the sums of their squares
        self._energies: list[Floats] = []  # of full steps, weighted and added over channels

    def hear(self, block: Channels, rate_hz: int) -> None:
        """One block, (n_channels, n_samples). A change of the rate begins the filters anew."""
        if rate_hz != self._rate_hz:
            self._rate_hz, self._n_done = rate_hz, 0
            self._coefficients = k_filter(rate_hz)
            self._states[:], self._squares[:] = 0, 0
        n_step = round(rate_hz * STEP_S)
        n_steps = (self._n_done + block.shape[1]) // n_step
        squares = np.zeros((len(block), n_steps + 1))
        squares[:, 0] = self._squares[: len(block)]
        add_squares(block, self._coefficients, self._states, n_step, self._n_done, squares)
        self._n_done = (self._n_done + block.shape[1]) % n_step
        self._squares[: len(block)] = squares[:, -1]
        weights = np.array(_WEIGHTS.get(len(block), (1,) * len(block)), np.float64)
        self._energies.append(weights @ squares[:, :-1] / n_step)

    def loudness_db(self) -> float:
        """LUFS of what was heard; −inf of what is shorter than a block, or below the gate."""
        steps = np.concatenate(self._energies) if self._energies else np.zeros(0)
        if len(steps) < STEPS_PER_BLOCK:
            return -inf
        blocks = np.convolve(steps, np.full(STEPS_PER_BLOCK, 1 / STEPS_PER_BLOCK), "valid")
        blocks = blocks[blocks > _energy(ABSOLUTE_GATE_DB)]
        if not len(blocks):
            return -inf
        blocks = blocks[blocks > blocks.mean() * 10 ** (RELATIVE_GATE_DB / 10)]
        return float(OFFSET_DB + 10 * np.log10(blocks.mean()))


def _energy(loudness_db: float) -> float:
    return float(10 ** ((loudness_db - OFFSET_DB) / 10))


def k_filter(rate_hz: int) -> Floats:
    """b0, b1, b2, a1, a2 of the shelf, and of the high-pass."""
    k = np.tan(np.pi * SHELF_HZ / rate_hz)
    high = 10 ** (SHELF_DB / 20)
    middle = high**SHELF_BEND
    a0 = 1 + k / SHELF_Q + k * k
    shelf = (
        (high + middle * k / SHELF_Q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - middle * k / SHELF_Q + k * k) / a0,
        2 * (k * k - 1) / a0,
        (1 - k / SHELF_Q + k * k) / a0,
    )
    k = np.tan(np.pi * HIGH_PASS_HZ / rate_hz)
    a0 = 1 + k / HIGH_PASS_Q + k * k
    high_pass = (1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / HIGH_PASS_Q + k * k) / a0)
    return np.array([shelf, high_pass])


@compiled
def add_squares(
    block: Channels, coefficients: Floats, states: Floats, n_step: int, n_done: int, squares: Floats
) -> None:
    """Filter a block, and add the squares of each step.

    Args:
        block: (n_channels, n_samples).
        coefficients: as `k_filter` has them.
        states: of each channel's filters (transposed direct form II), which go on.
        n_step: samples of a step.
        n_done: samples of the first step that came before.
        squares: (n_channels, n_steps), added to.
    """
    b0, b1, b2, a1, a2 = coefficients[0]
    _, _, _, c1, c2 = coefficients[1]
    for channel in range(len(block)):
        samples, sums = block[channel], squares[channel]
        s1, s2, t1, t2 = states[channel]
        step, n_in_step, sum_ = 0, n_done, 0.0
        for i in range(len(samples)):
            sample = np.float64(samples[i])
            shelved = b0 * sample + s1
            s1 = b1 * sample - a1 * shelved + s2
            s2 = b2 * sample - a2 * shelved
            passed = shelved + t1
            t1 = -2.0 * shelved - c1 * passed + t2
            t2 = shelved - c2 * passed
            sum_ += passed * passed
            n_in_step += 1
            if n_in_step == n_step:
                sums[step] += sum_
                step, n_in_step, sum_ = step + 1, 0, 0.0
                if abs(s1) + abs(s2) + abs(t1) + abs(t2) < 1e-30:
                    s1, s2, t1, t2 = 0.0, 0.0, 0.0, 0.0  # numbers near 0 for ever are slow
        sums[step] += sum_
        state = states[channel]
        state[0], state[1], state[2], state[3] = s1, s2, t1, t2

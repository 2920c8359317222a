import numpy as np
import pytest

from fpserver.matching.sameness import held, is_same_recording, least_agreement
from fpserver.terms import Constellation, Peaks, TrackPeaks


def peaks(*cells: tuple[int, int], n_frames: int = 100) -> Peaks:
    columns = np.array(sorted(cells), np.int32).reshape(-1, 2)
    return Peaks(frame=columns[:, 0], bin=columns[:, 1], n_frames=n_frames)


def test_a_peak_stands_there_when_one_is_beside_it_in_time_and_frequency() -> None:
    there = peaks((10, 5), (20, 0), (99, 1023))
    beside = [(frame, bin_) for frame in (9, 10, 11) for bin_ in (4, 5, 6)]
    assert held(there, peaks(*beside), 0).all()
    assert not held(there, peaks((8, 5), (12, 5), (10, 3), (10, 7), (19, 1023), (98, 0)), 0).any()
    assert held(there, peaks((19, 1), (21, 0), (98, 1022)), 0).all()


def test_peaks_outside_the_other_recording_are_not_asked_for() -> None:
    there = peaks((0, 5), (99, 5))
    assert held(there, peaks((5, 5), (7, 5), (106, 5), (107, 5)), 7).tolist() == [True, True]
    assert held(there, peaks(), 0).tolist() == []
    assert held(peaks(n_frames=0), peaks((0, 5)), 0).tolist() == []


def test_the_part_that_agrees_least_decides(rng: np.random.Generator) -> None:
    track = peaks(*((frame, 100) for frame in range(0, 1600, 2)), n_frames=1600)
    there = peaks(*((frame, 100) for frame in range(0, 1600, 2) if not 400 <= frame < 600), n_frames=1600)
    assert least_agreement(there, track, 0) == pytest.approx(0.01, abs=0.011)
    assert least_agreement(track, there, 0) == 1.0


@pytest.mark.parametrize(("n_added", "same"), [(0, True), (60, True), (200, False)])
def test_strong_peaks_that_were_added_make_another_recording(
    rng: np.random.Generator, n_added: int, same: bool
) -> None:
    """600 of the old one's peaks are the highest of the new one, beside those that were added."""
    cells = np.sort(rng.choice(4000 * 50, 4000, replace=False))
    frame, bin_ = (cells // 50).astype(np.int32), (cells % 50).astype(np.int32) * 20
    old = Peaks(frame=frame, bin=bin_, n_frames=4000)
    place = np.sort(rng.choice(4000, n_added, replace=False))
    all_frames = np.r_[frame, place.astype(np.int32)]
    all_bins = np.r_[bin_, np.full(n_added, 1010, np.int32)]
    strong = np.r_[np.arange(4000) % 7 == 0, np.ones(n_added, np.bool_)]
    order = np.lexsort((all_bins, all_frames))
    new = TrackPeaks(frame=all_frames[order], bin=all_bins[order], strong=strong[order], n_frames=4000)
    dense = Constellation(frame=new.frame, bin=new.bin, level=np.zeros(len(new), np.uint8), n_frames=4000)
    assert is_same_recording(old=old, new=new, new_dense=dense, alignment=0) is same

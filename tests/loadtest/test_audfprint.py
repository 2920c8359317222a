"""What is replaced in audfprint answers as the original does."""

import numpy as np
import pytest

from loadtest.accuracy import peer_audfprint
from loadtest.accuracy.peer_audfprint import DEFAULT, TUNED, Postings, compiled_analyzer, hashes_of
from tests import synth

analyzer = pytest.importorskip("audfprint2.core.analyzer")
hash_table = pytest.importorskip("audfprint2.core.hash_table")
matcher = pytest.importorskip("audfprint2.core.matcher")

RATE_HZ = peer_audfprint.RATE_HZ


@pytest.mark.parametrize("variant", [DEFAULT, TUNED])
def test_compiled_loops_find_the_same_peaks_and_pairs(variant: peer_audfprint.Variant) -> None:
    samples = synth.noise(3, 6, RATE_HZ) + synth.chirp(200, 4000, 6, RATE_HZ)
    original = analyzer.Analyzer(variant.density)
    original.maxpairsperpeak = variant.fan_out
    compiled = compiled_analyzer(density=variant.density, fan_out=variant.fan_out)
    peaks = original.find_peaks(samples, RATE_HZ)
    assert len(peaks) > 30
    assert compiled.find_peaks(samples, RATE_HZ) == peaks
    assert np.array_equal(compiled.peaks2landmarks(peaks), np.array(original.peaks2landmarks(peaks)))


def test_sorted_postings_match_as_its_table_does() -> None:
    tracks = [synth.noise(i, 20, RATE_HZ) for i in range(4)]
    prints = [hashes_of(each, density=20, fan_out=3, shifts=1) for each in tracks]
    table = hash_table.HashTable()
    for i, each in enumerate(prints):
        table.store(str(i), [tuple(row) for row in each.tolist()])
    rows = np.concatenate(prints)
    owners = np.repeat(np.arange(4), [len(each) for each in prints])
    ours = Postings(rows[:, 1], owners, rows[:, 0], 4, DEFAULT)
    clip = tracks[2][5 * RATE_HZ : 11 * RATE_HZ]
    query = hashes_of(clip, density=20, fan_out=3, shifts=4)

    def ordered(hits: np.ndarray) -> np.ndarray:
        return hits[np.lexsort(hits.T)]

    assert np.array_equal(ordered(ours.get_hits(query)), ordered(table.get_hits(query)))
    assert np.array_equal(ours.hashesperid, table.hashesperid)
    found, theirs = (matcher.Matcher().match_hashes(each, query) for each in (ours, table))
    assert found[0, :4].tolist() == theirs[0, :4].tolist()
    assert found[0, 0] == 2


def test_a_full_bucket_keeps_as_many_as_it_holds() -> None:
    hashes = np.repeat([7, 9], [500, 30])
    ours = Postings(hashes, np.arange(530) % 5, np.arange(530), 5, DEFAULT)
    kept = [len(ours.get_hits(np.array([[0, each]]))) for each in (7, 8, 9)]
    assert kept == [DEFAULT.bucket, 0, 30]

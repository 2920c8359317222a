"""Variants of the fingerprint are what they say, leave nothing behind, and are counted as a full index has them."""

from types import ModuleType

import numpy as np
import pytest

from fpserver.fingerprint import constellation, landmarks
from fpserver.fingerprint.constellation import band, constellation_of
from fpserver.fingerprint.landmarks import fingerprint_of
from loadtest.hasher import (
    DENSE,
    PLAIN,
    POSTINGS_PER_S,
    VARIANTS,
    Variant,
    equally_large,
    expected_higher,
    likely,
    page_of,
    paired,
    varied,
)
from tests import synth

FULL = 26.4  # a full index over one of 200 h


def constants(module: ModuleType) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if name.isupper()}


def test_variants_have_names_of_their_own() -> None:
    names = [each.name for each in VARIANTS]
    assert len(names) == len(set(names))
    assert not any("," in name for name in [*names, *(each.family for each in VARIANTS)])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_constants_change_for_a_while_and_hashes_fit_their_bits(variant: Variant) -> None:
    before = constants(constellation), constants(landmarks)
    with varied(variant) as config:
        assert all(getattr(constellation, name) == value for name, value in variant.constants.items())
        assert all(getattr(config, name) == value for name, value in variant.settings.items())
        assert landmarks.HASH_BITS <= 32
        highest = np.array([band(config)[1] - 1], np.int32)
        sides = np.array([config.max_delta_bins], np.int32)
        latest = np.array([config.max_delta_frames], np.int32)
        for delta in (sides, -sides):
            packed = landmarks.pack(highest, delta, latest)
            assert int(packed[0]) < 1 << landmarks.HASH_BITS
            assert [int(each[0]) for each in landmarks.unpack(packed)] == [highest[0], delta[0], latest[0]]
    assert (constants(constellation), constants(landmarks)) == before


def test_constants_come_back_after_an_error() -> None:
    before = constants(constellation), constants(landmarks)
    with pytest.raises(ValueError, match="on purpose"), varied(VARIANTS[-1]):
        raise ValueError("on purpose")
    assert (constants(constellation), constants(landmarks)) == before


def test_the_default_variant_is_the_default() -> None:
    before = constants(constellation), constants(landmarks)
    with varied(VARIANTS[0]):
        assert (constants(constellation), constants(landmarks)) == before


def test_other_fan_outs_are_made_equally_large() -> None:
    with varied(Variant(name="one pair", family="", settings={"fan_out": 1})) as config:
        found = constellation_of(synth.song(3, 30.0, config.rate_hz), config)
        chosen = equally_large([found], config)
        per_s = {
            strong: len(fingerprint_of(found, config_of).landmarks) / 30
            for strong in (chosen.strong_peaks_per_s - 1, chosen.strong_peaks_per_s)
            for config_of in [type(config)(fan_out=1, strong_peaks_per_s=strong)]
        }
    best = min(per_s, key=lambda strong: abs(per_s[strong] - POSTINGS_PER_S))
    assert best == chosen.strong_peaks_per_s


def test_chance_alignments_count_as_in_a_full_index() -> None:
    chance = np.sort(np.random.default_rng(1).exponential(1.0, 100_000))[::-1][:400]
    assert expected_higher(float(chance[99]), chance, FULL) == pytest.approx(100 * FULL)
    for votes, expected in ((8.0, 1e5 * np.exp(-8)), (14.0, 1e5 * np.exp(-14))):
        assert expected_higher(votes, chance, FULL) == pytest.approx(expected * FULL, rel=1.0)
    assert expected_higher(3.0, np.zeros(0), FULL) == 0
    assert expected_higher(1.0, np.array([2.0, 1.0, 0.5]), FULL) == 2 * FULL
    assert expected_higher(1.0, np.ones(50), FULL) == 50 * FULL


def test_a_clip_is_among_the_first_as_chance_has_it() -> None:
    assert likely([0.0, 1.0, 1e6], 1) == pytest.approx([1, np.exp(-1), 0])
    assert likely([0.0, 20.0, 400.0], 300) == pytest.approx([1, 1, 0], abs=1e-3)


def test_a_variant_is_paired_with_the_default_clip_by_clip() -> None:
    basis = {"a": {"higher": [0.0, 1e6]}, "b": {"higher": [0.0, 1e6]}}
    better = {"a": {"higher": [0.0, 0.0]}, "b": {"higher": [0.0, 1e6]}}
    points, error = paired(better, basis)
    assert points == pytest.approx(25)
    assert error == pytest.approx(25)


def test_the_page_shows_every_variant() -> None:
    cell = {"higher": [0.0, 30.0, 1e6], "lookups": 900.0, "postings": 1e5, "left_out": 0.01}
    cells = dict.fromkeys(("clean 1 s", "clean 2 s"), cell)
    figures = {
        "strong_peaks_per_s": 15,
        "fan_out": 2,
        "hash_bits": 23,
        "mb_per_hour": 1.07,
        "queries": {query.name: cells for query in (DENSE, PLAIN)},
    }
    report = {
        "setting": {"tracks": 9, "clips": 3, "hours": 20},
        "variants": {
            "default": {**figures, "family": "", "times_real_time": 1000},
            "other": {**figures, "family": "target zone"},
        },
    }
    page = page_of(report)
    assert page.count("| other | 15x2 | 23 | 1.07 | 33 / 65 / 67 |") == 2
    assert "| default | 1,000 |" in page

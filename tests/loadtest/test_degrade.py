import numpy as np
import pytest

from fpserver.terms import Samples
from loadtest.accuracy import degrade, sounds
from loadtest.corpus import RATE_HZ
from tests import synth


def pitch_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE_HZ / len(samples))


def click_at_s(samples: Samples) -> float:
    return float(np.abs(samples).argmax() / RATE_HZ)


def with_click(seconds: float, at_s: float) -> Samples:
    samples = synth.tone(440, seconds, RATE_HZ, level=0.01)
    samples[round(at_s * RATE_HZ)] = 1
    return samples


def test_the_ratio_is_that_of_the_analysed_band(rng: np.random.Generator) -> None:
    tone, noise = synth.tone(1000, 2, RATE_HZ), sounds.white(2 * RATE_HZ, rng)
    added = degrade.add_noise(tone, noise, snr_db=-6) - tone
    ratio = degrade.band_rms(tone) / degrade.band_rms(added)
    assert 20 * np.log10(ratio) == pytest.approx(-6, abs=0.01)
    assert np.std(added) > 1.9 * degrade.band_rms(added)  # white noise has 4.5 times the band's power


def test_what_lies_outside_the_band_does_not_count() -> None:
    assert degrade.band_rms(synth.tone(1000, 1, RATE_HZ, level=0.5)) == pytest.approx(0.5 / 2**0.5, rel=0.01)
    assert degrade.band_rms(synth.tone(8000, 1, RATE_HZ)) < 1e-3


@pytest.mark.parametrize("factor", [0.85, 0.98, 1.04, 1.15])
def test_speed_moves_time_and_pitch(factor: float) -> None:
    played = degrade.at_speed(with_click(4, 2), factor)
    assert len(played) == pytest.approx(4 * RATE_HZ / factor, abs=2)
    assert click_at_s(played) == pytest.approx(2 / factor, abs=1e-3)
    assert pitch_hz(degrade.at_speed(synth.tone(440, 4, RATE_HZ), factor)) == pytest.approx(
        440 * factor, rel=0.002
    )


@pytest.mark.parametrize("factor", [0.85, 0.96, 1.04, 1.15])
def test_tempo_moves_time_and_leaves_pitch(factor: float) -> None:
    assert click_at_s(degrade.at_tempo(with_click(4, 2), factor)) == pytest.approx(2 / factor, abs=0.03)
    played = degrade.at_tempo(synth.tone(440, 4, RATE_HZ), factor)
    assert len(played) == pytest.approx(4 * RATE_HZ / factor, abs=3000)
    assert pitch_hz(played) == pytest.approx(440, rel=0.003)


@pytest.mark.parametrize("factor", [0.794, 0.96, 1.04, 1.26])
def test_pitch_moves_pitch_and_leaves_time(factor: float) -> None:
    played = degrade.at_pitch(synth.tone(440, 4, RATE_HZ), factor)
    assert len(played) == pytest.approx(4 * RATE_HZ, abs=3000)
    assert pitch_hz(played) == pytest.approx(440 * factor, rel=0.003)
    assert click_at_s(degrade.at_pitch(with_click(4, 2), factor)) == pytest.approx(2, abs=0.03)


def test_a_room_filled_before_the_cut_sounds_from_the_first_sample(rng: np.random.Generator) -> None:
    response = degrade.simulated_response(rng)
    assert 0.2 * RATE_HZ <= len(response) <= 0.8 * RATE_HZ
    tone = synth.tone(440, 2, RATE_HZ)
    heard = degrade.in_room(tone, response, run_in=RATE_HZ)
    assert len(heard) == RATE_HZ
    assert np.std(heard[:4410]) == pytest.approx(np.std(heard[-4410:]), rel=0.02)


def test_clipping_takes_the_loudest_share(rng: np.random.Generator) -> None:
    noise = rng.normal(0, 0.1, 10000).astype(np.float32)
    clipped = degrade.clipped(noise, 0.01)
    assert (clipped != noise).sum() == pytest.approx(100, abs=2)


@pytest.mark.parametrize("kind", ["mp3", "opus", "gsm"])
def test_codecs_keep_time_and_length(kind: str) -> None:
    if kind == "gsm" and not degrade.has_gsm():
        pytest.skip("no GSM 06.10 tools")
    samples = synth.noise(1, 2, RATE_HZ) * np.where(np.arange(2 * RATE_HZ) < RATE_HZ, np.float32(0.01), 1)
    heard = degrade.gsm(samples) if kind == "gsm" else degrade.coded(samples, kind, 32_000)
    assert len(heard) == len(samples)
    power = np.convolve(heard.astype(np.float64) ** 2, np.ones(441) / 441, "same")
    begins_s = float((power > power.max() / 4).argmax()) / RATE_HZ
    assert begins_s == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", sorted(sounds.SYNTHETIC))
def test_synthetic_sounds_are_as_long_as_asked_and_never_too_loud(
    name: str, rng: np.random.Generator
) -> None:
    sound = sounds.SYNTHETIC[name](RATE_HZ, rng)
    assert len(sound) == RATE_HZ
    assert 0 < np.abs(sound).max() <= 1

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpserver.errors import AudioTooLong, InvalidRequest
from fpserver.index import peaks
from fpserver.terms import TrackPeaks

COLUMNS = ("frame", "bin", "strong")


@pytest.fixture(autouse=True, scope="module")
def ready() -> None:
    peaks.warm_up()


def track(cells: list[tuple[int, int]], n_frames: int, strong: int = 0) -> TrackPeaks:
    """Peaks at these (frame, bin); bit i of `strong` is the i-th one's."""
    return TrackPeaks(
        frame=np.array([frame for frame, _ in cells], np.int32),
        bin=np.array([bin_ for _, bin_ in cells], np.int32),
        strong=np.array([bool(strong >> i & 1) for i in range(len(cells))], np.bool_),
        n_frames=n_frames,
    )


@st.composite
def tracks(draw: st.DrawFn) -> TrackPeaks:
    """Crowds and gaps, at the ends of frames, blocks and tracks."""
    n_frames = draw(st.sampled_from([1, 127, 128, 129, 256, 1000, 20_000]))
    frames = (
        st.integers(0, n_frames - 1)
        | st.sampled_from([0, n_frames - 1])
        | st.integers(0, min(3, n_frames - 1))
    )
    bins = st.sampled_from([0, 1, 510, 511, 512, 1023, 1024, 2047]) | st.integers(0, 2047)
    cells = sorted(draw(st.sets(st.tuples(frames, bins), max_size=60)))
    return track(cells, n_frames, draw(st.integers(0, 2 ** len(cells) - 1)))


def answer(packed: dict[int, bytes], question: peaks.Question) -> bytes:
    """What the function `windows` answers."""
    headers, starts, blocks = [], [], []
    columns = (question.track_id, question.first, question.last)
    for track_id, first, last in zip(*(column.tolist() for column in columns), strict=True):
        string = packed.get(track_id, bytes(4))
        n_frames = int.from_bytes(string[1:4], "big")
        end = min(last + 1, peaks.blocks_of(n_frames))
        headers.append(string[:4])
        if first < end:
            start = np.frombuffer(string, ">u4", end + 1, offset=4)[first:]
            starts.append(start.tobytes())
            blocks.append(string[start[0] : start[-1]])
    return b"".join([*headers, *starts, *blocks])


def test_a_string_is_header_then_starts_then_blocks() -> None:
    packed = peaks.pack(
        track([(0, 0x006), (0, 0x1FF), (0, 0x205), (127, 0x7FC), (256, 0x003)], 300, strong=0b01010)
    )
    unary = [1, 1, 0, 1, 0, *[0] * 509, 1, 0]  # quarters 0, 0, 1 and 511
    block = bytes([0, 4]) + np.packbits(unary).tobytes() + bytes([0x03, 0xFF, 0x02, 0xFE]) + b"\x60\x50"
    last = bytes([0, 1]) + np.packbits([1, *[0] * 512]).tobytes() + b"\x01" + b"\x80" + b"\x00"
    starts = [20, 20 + len(block), 20 + len(block), 20 + len(block) + len(last)]
    assert packed == bytes.fromhex("0300012c") + np.array(starts, ">u4").tobytes() + block + last


@given(tracks())
def test_peaks_come_back(given_: TrackPeaks) -> None:
    back = peaks.unpack(peaks.pack(given_))
    assert back.n_frames == given_.n_frames
    for column in COLUMNS:
        expected, found = getattr(given_, column), getattr(back, column)
        assert found.tolist() == expected.tolist()
        assert found.dtype == expected.dtype


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(tracks(), min_size=1, max_size=3),
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 1100), st.integers(-9, 500)), max_size=5),
        max_size=3,
    ),
)
def test_windows_are_whole_blocks_of_the_track(
    given_: list[TrackPeaks], asked: list[list[tuple[int, int, int]]]
) -> None:
    packed = {i: peaks.pack(each) for i, each in enumerate(given_)}
    windows = [np.array(some, np.int64).reshape(-1, 3) for some in asked]
    questions = []
    for some in windows:
        first, last = peaks.blocks_asked(some[:, 1], some[:, 1] + some[:, 2])
        questions.append(peaks.Question(track_id=some[:, 0], first=first, last=last))
    found = peaks.unpack_windows(questions, [answer(packed, each) for each in questions])
    for (track_id, asked_from, length), window in zip(
        np.concatenate([*windows, np.zeros((0, 3))]), found, strict=True
    ):
        if track_id >= len(given_):
            assert window is None
            continue
        assert window is not None
        whole = given_[int(track_id)]
        begin, end = max(asked_from, 0), asked_from + length
        inside = np.zeros(len(whole), np.bool_)
        if begin < end:
            block = whole.frame // peaks.BLOCK_FRAMES
            inside = (block >= begin // peaks.BLOCK_FRAMES) & (block <= (end - 1) // peaks.BLOCK_FRAMES)
        assert window.frame.tolist() == whole.frame[inside].tolist()
        assert window.bin.tolist() == whole.bin[inside].tolist()
        assert {str(window.frame.dtype), str(window.bin.dtype)} == {"int32"}


def test_a_question_is_three_numbers_per_window() -> None:
    columns = (np.array([value], np.int64) for value in (5, 2, 3))
    question = peaks.Question(**dict(zip(("track_id", "first", "last"), columns, strict=True)))
    assert question.packed() == bytes.fromhex("000000050000000200000003")


def test_forty_peaks_a_second_are_about_thirteen_bits_each(rng: np.random.Generator) -> None:
    cells = np.sort(rng.choice(77_500 * 2048, 144_000, replace=False))
    hour = TrackPeaks(
        frame=(cells // 2048).astype(np.int32),
        bin=(cells % 2048).astype(np.int32),
        strong=rng.random(144_000) < 0.3,
        n_frames=77_500,
    )
    assert 8 * len(peaks.pack(hour)) < 13.5 * 144_000


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"bin 2048, the index holds bins of 0..2047"):
        peaks.pack(track([(0, 2048)], 1))
    with pytest.raises(InvalidRequest, match="frame 7, the recording has 7"):
        peaks.pack(track([(7, 1)], 7))
    with pytest.raises(AudioTooLong, match=r"16777216 frames, peaks are kept of at most 16777215"):
        peaks.pack(track([], 2**24))
    with pytest.raises(InvalidRequest, match=r"66560 peaks lie in 128 frames, the index holds 65535"):
        peaks.pack(track([(frame, bin_) for frame in range(65) for bin_ in range(1024)], 65))


@pytest.mark.parametrize("packed", [b"", b"\x02\0\0\x80", b"\x03\0\0\x80", bytes.fromhex("0300008000000009")])
def test_bytes_of_another_layout_are_no_peaks(packed: bytes) -> None:
    with pytest.raises(ValueError, match="peaks"):
        peaks.unpack(packed)


def test_a_block_of_another_length_is_refused() -> None:
    packed = bytearray(peaks.pack(track([(0, 1), (0, 2)], 1)))
    packed[13] = 1  # peaks of the block
    with pytest.raises(ValueError, match="not as long as"):
        peaks.unpack(bytes(packed))

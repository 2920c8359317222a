"""What is asked of a server, and in which shares."""

from dataclasses import dataclass
from enum import StrEnum


class Call(StrEnum):
    """What a request is for."""

    IDENTIFY = "identify"
    SIMILAR = "similar"
    RECOMMEND = "recommend"
    FEEDBACK = "feedback"
    READ = "read"
    LIST = "list"
    INGEST = "ingest"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Requests that are alike."""

    name: str
    share: float  # % of all
    call: Call
    cell: str = ""  # of loadtest.accuracy.cells, of a clip
    form: str = ""  # "fingerprint", or a kind of file

    @property
    def steady(self) -> bool:
        """Whether it changes no catalogue: such requests are told apart by time."""
        return self.call not in (Call.INGEST, Call.REMOVE)


CLEAN, NOISY, UNKNOWN = "clean_10s", "noise_0dB_10s", "unknown_music_10s"
KINDS = (
    Kind(name="clean, fingerprint", share=20, call=Call.IDENTIFY, cell=CLEAN, form="fingerprint"),
    Kind(name="noisy, fingerprint", share=10, call=Call.IDENTIFY, cell=NOISY, form="fingerprint"),
    Kind(name="unknown, fingerprint", share=1.5, call=Call.IDENTIFY, cell=UNKNOWN, form="fingerprint"),
    Kind(name="clean, WAV", share=6, call=Call.IDENTIFY, cell=CLEAN, form="wav"),
    Kind(name="noisy, MP3", share=6, call=Call.IDENTIFY, cell=NOISY, form="mp3"),
    Kind(name="noisy, WebM (Opus)", share=6, call=Call.IDENTIFY, cell=NOISY, form="webm"),
    Kind(name="unknown, MP3", share=1.5, call=Call.IDENTIFY, cell=UNKNOWN, form="mp3"),
    Kind(name="neighbours", share=12, call=Call.SIMILAR),
    Kind(name="recommendations", share=12, call=Call.RECOMMEND),
    Kind(name="feedback", share=12, call=Call.FEEDBACK),
    Kind(name="a track", share=8, call=Call.READ),
    Kind(name="a page of tracks", share=4.5, call=Call.LIST),
    Kind(name="file in", share=0.25, call=Call.INGEST),
    Kind(name="track out", share=0.25, call=Call.REMOVE),
)
STEADY = [i for i, kind in enumerate(KINDS) if kind.steady]
CLIPS = [i for i, kind in enumerate(KINDS) if kind.call is Call.IDENTIFY]

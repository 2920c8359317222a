"""What is learned from everybody's feedback. It holds nothing of any single person.

{"version": 2, "arrays": {name: [dtype, shape, bytes] …}, "texts": {name: [text …]}, "scales": "…",
 "weights": {strategy: {signal: [always, new]}}, "spreads": {signal: spread}, "n_people": n}

As msgpack; numbers are little endian.
"""

from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
from scipy import sparse

from fpserver.errors import InvalidRequest
from fpserver.recommend.blend import STRATEGIES, Signal, Weight, Weights
from fpserver.recommend.expected import Expectations
from fpserver.terms import TrackIds, Vector, Vectors

VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Tracks that people know, in rows, ascending by id."""

    track_id: TrackIds
    n_people: int  # who were learned from
    factors: Vectors  # (n_tracks, n_factors)
    near: (
        sparse.csr_array
    )  # (n_tracks, n_tracks), how strongly each column is a neighbour of the row, by likings
    met_near: sparse.csr_array  # the same by meetings
    n_users: Vector  # people who liked each
    n_lately: Vector  # of these, in the newest tenth of all likings
    expectations: Expectations  # of (factors, log(1 + n_users))
    weights: Weights

    def pack(self) -> bytes:
        """As it is kept; the same model gives the same bytes."""
        told = self.expectations
        arrays = {
            "track_id": self.track_id.astype("<i8"),
            "factors": self.factors.astype("<f4"),
            **_near_arrays("near", self.near),
            **_near_arrays("met_near", self.met_near),
            "n_users": self.n_users.astype("<f4"),
            "n_lately": self.n_lately.astype("<f4"),
            **{
                name: getattr(told, name).astype("<f4")
                for name in ("base", "audio", "artist", "genre", "tag")
            },
        }
        document = {
            "version": VERSION,
            "arrays": {name: [each.dtype.str, each.shape, each.tobytes()] for name, each in arrays.items()},
            "texts": {name: list(getattr(told, name)) for name in ("artists", "genres", "tag_names")},
            "scales": told.scales,
            "n_people": self.n_people,
            "weights": {
                name: {signal.value: [weight.always, weight.new] for signal, weight in by_signal.items()}
                for name, by_signal in self.weights.by_strategy.items()
            },
            "spreads": {signal.value: spread for signal, spread in self.weights.spreads.items()},
        }
        packed: bytes = msgpack.packb(document)
        return packed


def unpack(packed: bytes) -> Model:
    """What `pack` made.

    Raises:
        InvalidRequest: it is something else, or of another version of fpserver.
    """
    try:
        document: dict[str, Any] = msgpack.unpackb(packed)
        if document["version"] != VERSION:
            raise InvalidRequest(f"model is of version {document['version']}, needs {VERSION}: train it anew")
        return _model(document)
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"model cannot be read: {type(error).__name__}: {error}") from error


def _model(document: dict[str, Any]) -> Model:
    arrays = {name: _array(*told) for name, told in document["arrays"].items()}
    weights = {
        name: {
            Signal(signal): Weight(always=always, new=new)
            for signal, (always, new) in document["weights"][name].items()
        }
        for name in STRATEGIES
    }
    spreads = {signal: document["spreads"][signal.value] for signal in Signal}
    return Model(
        track_id=arrays["track_id"],
        n_people=document["n_people"],
        factors=arrays["factors"],
        near=_near("near", arrays),
        met_near=_near("met_near", arrays),
        n_users=arrays["n_users"],
        n_lately=arrays["n_lately"],
        expectations=Expectations(
            base=arrays["base"],
            audio=arrays["audio"],
            artist=arrays["artist"],
            genre=arrays["genre"],
            tag=arrays["tag"],
            **document["texts"],
            scales=document["scales"],
        ),
        weights=Weights(by_strategy=weights, spreads=spreads),
    )


def _near_arrays(name: str, near: sparse.csr_array) -> dict[str, npt.NDArray[Any]]:
    return {
        f"{name}_data": near.data.astype("<f2"),
        f"{name}_indices": near.indices.astype("<i4"),
        f"{name}_indptr": near.indptr.astype("<i8"),
    }


def _near(name: str, arrays: dict[str, npt.NDArray[Any]]) -> sparse.csr_array:
    n_tracks = len(arrays["track_id"])
    parts = (arrays[f"{name}_data"].astype(np.float32), arrays[f"{name}_indices"], arrays[f"{name}_indptr"])
    return sparse.csr_array(parts, shape=(n_tracks, n_tracks))


def _array(dtype: str, shape: list[int], kept: bytes) -> npt.NDArray[Any]:
    return np.frombuffer(kept, np.dtype(dtype)).reshape(shape)

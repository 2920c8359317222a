"""Who liked this also liked that: for each track the few that the same people like, or meet, and how strongly.

Two kinds, since neither is better everywhere: the cosine of likings, damped for tracks that few people know; and BM25
of what was met at all, in which what everybody meets says little. Both are learned by implicit.
"""

import numpy as np
from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight, normalize
from scipy import sparse

SHRINK = 10.0  # people by which every overlap of likings is held to be smaller than it looks
OWN = 1  # each track is its own nearest
SATURATION, LENGTH = 0.6, 0.75  # BM25's K1, how much meeting a track again adds; and B, as implicit's own
HIGH = 99.0  # the percentile of strengths of meeting that is made 1


def of_likings(likings: sparse.csr_array, *, n_neighbors: int, n_threads: int = 1) -> sparse.csr_array:
    """Track → its neighbours by cosine, (n_tracks, n_tracks), at most `n_neighbors` in a row, each above 0, at most 1.

    Args:
        likings: (n_users, n_tracks), weights; those that are not above 0 do not count.
        n_neighbors: kept of each track.
        n_threads: that are used.
    """
    liked = _above_zero(likings)
    near = _others(normalize(liked.T).T, n_neighbors, n_threads)
    known = np.bincount(liked.indices, minlength=liked.shape[1]).astype(np.float32)
    damping = np.sqrt(known / (known + SHRINK))
    near.data *= np.repeat(damping, np.diff(near.indptr)) * damping[near.indices]
    return near


def of_meetings(met: sparse.csr_array, *, n_neighbors: int, n_threads: int = 1) -> sparse.csr_array:
    """Track → its neighbours by BM25, (n_tracks, n_tracks), at most `n_neighbors` in a row, above 0, mostly below 1.

    Args:
        met: (n_users, n_tracks), how often each track was met, less for what is long ago.
        n_neighbors: kept of each track.
        n_threads: that are used.
    """
    near = _others(bm25_weight(_above_zero(met).T, SATURATION, LENGTH).T, n_neighbors, n_threads)
    if near.nnz:
        near.data /= np.float32(max(np.percentile(near.data, HIGH), 1e-9))
    return near


def _above_zero(matrix: sparse.csr_array) -> sparse.csr_matrix:
    above = sparse.csr_matrix((np.maximum(matrix.data, 0), matrix.indices, matrix.indptr), shape=matrix.shape)
    above.eliminate_zeros()
    return above


def _others(weighted: sparse.spmatrix, n_neighbors: int, n_threads: int) -> sparse.csr_array:
    """The nearest by what is weighted, without each track itself."""
    model = ItemItemRecommender(K=n_neighbors + OWN, num_threads=n_threads)
    model.fit(sparse.csr_matrix(weighted), show_progress=False)
    near = sparse.csr_array(model.similarity.tocsr())
    rows = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
    others = (rows != near.indices) & (near.data > 0)
    rows, columns, data = rows[others], near.indices[others], near.data[others].astype(np.float32)
    order = np.lexsort((-data, rows))
    # by BM25 a track may have nearer ones than itself, and so one neighbour too many
    kept = order[np.arange(len(rows)) - np.searchsorted(rows, rows) < n_neighbors]
    return sparse.csr_array((data[kept], (rows[kept], columns[kept])), shape=near.shape)

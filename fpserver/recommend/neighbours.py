"""Who liked this also liked that: for each track the few that are liked by the same people, and how strongly.

Cosine between the columns of likings, damped for tracks that few people know; learned by implicit.
"""

import numpy as np
from implicit.nearest_neighbours import CosineRecommender
from scipy import sparse

SHRINK = 10.0  # people by which every overlap is held to be smaller than it looks
OWN = 1  # each track is its own nearest


def learn(likings: sparse.csr_array, *, n_neighbors: int, n_threads: int = 1) -> sparse.csr_array:
    """Track → its neighbours, (n_tracks, n_tracks), at most `n_neighbors` in a row, each above 0 and at most 1.

    Args:
        likings: (n_users, n_tracks), weights; those that are not above 0 do not count.
        n_neighbors: kept of each track.
        n_threads: that are used.
    """
    liked = sparse.csr_matrix(
        (np.maximum(likings.data, 0), likings.indices, likings.indptr), shape=likings.shape
    )
    liked.eliminate_zeros()
    model = CosineRecommender(K=n_neighbors + OWN, num_threads=n_threads)
    model.fit(liked, show_progress=False)
    near = sparse.csr_array(model.similarity.tocsr())
    known = np.bincount(liked.indices, minlength=liked.shape[1]).astype(np.float32)
    damping = np.sqrt(known / (known + SHRINK))
    rows = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
    data = near.data * damping[rows] * damping[near.indices]
    others = (rows != near.indices) & (data > 0)
    return sparse.csr_array(
        (data[others].astype(np.float32), (rows[others], near.indices[others])), shape=near.shape
    )

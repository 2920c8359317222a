"""The keys of trained models.

    fp:recommend:model                 hash    the model in force: version, n_pieces, n_bytes, figures (JSON)
    fp:recommend:model:<version>:<i>   string  a piece of a model, at most PIECE_BYTES
    fp:recommend:models                set     <version>:<n_pieces> of every model of which there may be pieces
    fp:recommend:demand                hash    wanted: how often training was asked for; served: what that was when
                                               the training that ended last began; failed: how it ended (JSON), if badly
    fp:recommend:training              string  there while somebody trains; it expires

A version is the digest of a model's bytes: pieces under one version are those of one model, whoever writes them.
"""

MODEL = "fp:recommend:model"
MODELS = "fp:recommend:models"
DEMAND = "fp:recommend:demand"
TRAINING = "fp:recommend:training"


def piece(version: str, i: int) -> str:
    """A piece of a model."""
    return f"{MODEL}:{version}:{i}"

import json

from tests.golden.make import FILE, golden


def test_songs_hash_to_what_they_hashed_to_when_the_index_was_made() -> None:
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    assert golden() == stored

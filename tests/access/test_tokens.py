"""Keys as they are shown, and as they are kept."""

import hashlib

import pytest

from fpserver.access import tokens


def test_a_key_is_read_as_it_was_written() -> None:
    token = tokens.new_token(tokens.new_id())
    assert tokens.read(str(token)) == token
    assert token.digest == hashlib.sha256(token.secret.encode()).digest()


def test_no_two_keys_are_the_same() -> None:
    made = [tokens.new_token(tokens.new_id()) for _ in range(1000)]
    assert len({token.key_id for token in made}) == len({token.secret for token in made}) == 1000


def test_a_key_that_is_printed_with_other_things_does_not_tell_its_secret() -> None:
    token = tokens.new_token(tokens.new_id())
    assert token.secret not in repr(token) and token.secret not in repr([token])


@pytest.mark.parametrize("cut", [slice(1, None), slice(None, -1), slice(4, None)])
def test_a_part_of_a_key_is_none(cut: slice) -> None:
    assert tokens.read(str(tokens.new_token(tokens.new_id()))[cut]) is None


@pytest.mark.parametrize("text", ["", "fps_", "fps__", "x" * 10_000, "fps_aaaaaaaaaaaaa_é", "fps_{tracks}_x"])
def test_what_is_no_key_is_none(text: str) -> None:
    assert tokens.read(text) is None

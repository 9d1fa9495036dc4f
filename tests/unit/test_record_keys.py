"""The keys of a local stack's record, from one start to the next."""

from pathlib import Path

import pytest

from audit_chain.signing import PublicKeys, Signer, new_private_pem
from specie_cli.stack.failure import StackError
from specie_cli.stack.record_keys import RecordKeys


@pytest.fixture
def keys(tmp_path: Path) -> RecordKeys:
    made = RecordKeys(tmp_path)
    made.make()
    return made


def own(keys: RecordKeys) -> str:
    return Signer.from_pem(keys.seal.read_bytes()).public_pem


def test_a_start_changes_nothing(keys: RecordKeys) -> None:
    before = (keys.seal.read_bytes(), keys.webhooks.read_bytes(), keys.seal_public.read_bytes())
    assert before[2].decode() == own(keys)
    keys.make()
    assert (keys.seal.read_bytes(), keys.webhooks.read_bytes(), keys.seal_public.read_bytes()) == before


def test_after_a_change_of_keys_the_former_is_still_trusted(keys: RecordKeys) -> None:
    first = own(keys)
    keys.seal.write_bytes(new_private_pem())
    for _ in range(2):
        keys.make()
        assert keys.seal_public.read_text() == own(keys) + first
    assert len(PublicKeys.from_pem(keys.seal_public.read_text()).ids) == 2


@pytest.mark.parametrize("content", [b"", b"\xff", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_replaced(keys: RecordKeys, content: bytes) -> None:
    keys.seal_public.write_bytes(content)
    keys.make()
    assert keys.seal_public.read_text() == own(keys)


@pytest.mark.parametrize("content", [b"", b"none", None])
def test_a_key_that_is_none_is_told(keys: RecordKeys, content: bytes | None) -> None:
    keys.seal.unlink()
    if content is None:
        keys.seal.mkdir()
    else:
        keys.seal.write_bytes(content)
    before = keys.seal_public.read_bytes()
    with pytest.raises(StackError, match=r"seal.key does not have the key that blocks are signed with: .*delete it"):
        keys.make()
    assert keys.seal_public.read_bytes() == before

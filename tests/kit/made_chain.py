"""An audit chain made up for tests: its blocks, and the records that they have sealed."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from audit_chain import header
from audit_chain.header import BEGINNING, GENESIS, Header, Mark
from audit_chain.merkle import leaf_hash, root_of
from audit_chain.seal import Seal
from audit_chain.signing import PublicKeys, Signer, new_private_pem
from audit_chain.verification import Sealed

SIGNER = Signer.from_pem(new_private_pem())
STRANGER = Signer.from_pem(new_private_pem())
KEYS = PublicKeys.from_pem(SIGNER.public_pem)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SIZES = (3, 5, 4)


def name(number: int) -> str:
    return f"transactions/{UUID(int=number)}"


def record(
    number: int, *, state: int = 1, amounts: Sequence[int] = (-5, 5), note: str = "", time: str = "then", **more: object
) -> str:
    """Of a transfer of 5. `time`: of its entries. `more`: what else stands in it."""
    facts = {"id": str(UUID(int=number)), "kind": 1, "state": state, "amount": 5, "note": note, "decide_time": "then"}
    entries = [{"amount": amount, "post_time": time} for amount in amounts]
    return json.dumps(facts | more | {"entries": entries})


class Block:
    """As it is sealed, and with what a test made of it."""

    def __init__(self, seal: Seal, records: Sequence[str]) -> None:
        self.seal = seal
        self.sealed = [Sealed(f"transactions/{json.loads(text)['id']}", leaf_hash(text.encode())) for text in records]
        self.records = list(records)


def sealed(
    number: int, records: Sequence[str], before: Block | None, signer: Signer = SIGNER, after: Mark | None = None
) -> Block:
    previous = GENESIS if before is None else header.hash_of(before.seal.header)
    behind = BEGINNING if before is None else header.parsed(before.seal.header).until
    root = root_of([leaf_hash(text.encode()) for text in records])
    until = Mark(100 * number, str(UUID(int=number)))
    time = NOON + timedelta(seconds=number)
    text = Header(number, len(records), root, previous, after or behind, until, time, signer.key_id).text()
    return Block(Seal(text, signer.sign(text)), records)


def chain(sizes: Sequence[int] = SIZES, note: str = "") -> list[Block]:
    """Transactions 101, 102, ... in block 1, 201, ... in block 2."""
    blocks: list[Block] = []
    for number, size in enumerate(sizes, 1):
        records = [record(100 * number + place, note=note) for place in range(1, size + 1)]
        blocks.append(sealed(number, records, blocks[-1] if blocks else None))
    return blocks

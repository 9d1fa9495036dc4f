"""The keys of a local stack's record: what its blocks are signed with, and what keeps its webhooks' secrets."""

from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

from audit_chain.signing import KeyUnreadable, PublicKeys, Signer, new_private_pem
from specie_cli.stack.directory import write_whole
from specie_cli.stack.failure import StackError


class RecordKeys:
    """Those in this directory."""

    def __init__(self, directory: Path) -> None:
        self.seal_public: Final = directory.absolute() / "seal.pub"
        """Public: who has it can check what the ledger says about itself."""
        secrets = directory.absolute() / "secrets"
        self.seal: Final = secrets / "seal.key"
        self.webhooks: Final = secrets / "webhooks.keys"

    def make(self) -> None:
        """On first use. The public key is written at every start, from the other one. Raises StackError."""
        self.seal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.seal.exists():
            write_whole(self.seal, new_private_pem().decode())
        if not self.webhooks.exists():
            write_whole(self.webhooks, Fernet.generate_key().decode() + "\n")
        write_whole(self.seal_public, self._with_former(self._own_public()))
        self.seal_public.chmod(0o644)

    def _own_public(self) -> str:
        try:
            return Signer.from_pem(self.seal.read_bytes()).public_pem
        except (KeyUnreadable, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise StackError(
                f"{self.seal} does not have the key that blocks are signed with: {why}. Put it back, or delete it to go"
                " on with a new one."
            ) from error

    def _with_former(self, own: str) -> str:
        """Behind it those from before a change of keys, which what they have signed is still checked with."""
        try:
            there = self.seal_public.read_text()
            PublicKeys.from_pem(there)
        except (OSError, ValueError):
            return own
        return own + there.replace(own, "")

"""The keys of a local stack's record: what its blocks are signed with, and what keeps its webhooks' secrets."""

from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

from audit_chain.signing import Signer, new_private_pem
from specie_cli.stack.directory import write_whole


class RecordKeys:
    """Those in this directory."""

    def __init__(self, directory: Path) -> None:
        self.seal_public: Final = directory.absolute() / "seal.pub"
        """Public: who has it can check what the ledger says about itself."""
        secrets = directory.absolute() / "secrets"
        self.seal: Final = secrets / "seal.key"
        self.webhooks: Final = secrets / "webhooks.keys"

    def make(self) -> None:
        """On first use. The public key is written at every start, from the other one."""
        self.seal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.seal.exists():
            write_whole(self.seal, new_private_pem().decode())
        if not self.webhooks.exists():
            write_whole(self.webhooks, Fernet.generate_key().decode() + "\n")
        write_whole(self.seal_public, Signer.from_pem(self.seal.read_bytes()).public_pem)
        self.seal_public.chmod(0o644)

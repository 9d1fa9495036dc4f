"""The wallet service's own token: renewed by somebody else, missing, and not believed."""

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from service_kit.status import Refusal
from tests.kit.accounts import FakeAccounts, serve_accounts
from tests.kit.tokens import token
from tests.kit.wallets import asynchronous, stored
from wallet_service.adapters.account_gateway import GrpcAccountGateway, channel_to
from wallet_service.adapters.service_token import ServiceToken
from wallet_service.domain.wallet import AccountState, WalletState

ALICE = stored(WalletState.CREATING)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "wallet.token"


def test_a_renewed_file_is_read_again(file: Path) -> None:
    file.write_text("first\n")
    own = ServiceToken(file)
    assert own.header() == "Bearer first"
    # As who renews it does: the new one appears whole, in place of the old one.
    draft = file.with_suffix(".draft")
    draft.write_text("second\n")
    os.utime(draft, ns=(0, file.stat().st_mtime_ns + 1))
    draft.replace(file)
    assert own.header() == "Bearer second"


def test_a_file_of_1970_is_read_too(file: Path) -> None:
    """Images that are built reproducibly have no other times."""
    file.write_text("first")
    os.utime(file, ns=(0, 0))
    assert ServiceToken(file).header() == "Bearer first"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two tokens", b"two\ntokens", b"\xff", "\u00fc".encode()])
def test_without_a_token_the_caller_is_told_to_come_again(file: Path, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
    own = ServiceToken(file)
    for _ in range(2):
        with structlog.testing.capture_logs() as logs, pytest.raises(Refusal) as refused:
            own.header()
        assert (refused.value.reason, refused.value.retry_after_seconds) == ("UNAVAILABLE", 1.0)
        told = [(line["event"], line["log_level"], line["reason"]) for line in logs]
        assert told == [("service_token_refused", "error", "UNAVAILABLE")]
        assert str(file) in logs[0]["error"]
        assert "tokens" not in logs[0]["error"]
    file.write_text("at last")
    file.write_text("here")
    assert own.header() == "Bearer here"


@asynccontextmanager
async def gateway_with(file: Path) -> AsyncIterator[GrpcAccountGateway]:
    """To accounts that look at tokens as the transaction service does."""
    async with serve_accounts(FakeAccounts()) as port:
        channel = channel_to(f"ipv4:127.0.0.1:{port}")
        try:
            yield GrpcAccountGateway(channel, ServiceToken(file).header)
        finally:
            await channel.close()


NOT_BELIEVED: Mapping[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: token("wallet", "service", exp=int(time.time()) - 60), "UNAUTHENTICATED"),
    "of another issuer": (lambda: token("wallet", "service", iss="another"), "UNAUTHENTICATED"),
    "no token at all": (lambda: "secret", "UNAUTHENTICATED"),
    "without the scope": (lambda: token("wallet", "admin"), "PERMISSION_DENIED"),
}


@pytest.mark.parametrize("case", NOT_BELIEVED)
def test_a_token_that_is_not_believed_is_our_fault_and_not_the_callers(file: Path, case: str) -> None:
    """Whose own token is good. The log has what is wrong, and neither log nor answer have the token."""
    made, reason = NOT_BELIEVED[case]
    bad = made()
    file.write_text(bad)

    def renew() -> None:
        file.write_text(token("wallet", "service"))

    @asynchronous
    async def test() -> None:
        async with gateway_with(file) as gateway:
            with structlog.testing.capture_logs() as logs, pytest.raises(Refusal) as refused:
                await gateway.open(ALICE)
            told = [line for line in logs if line["event"] == "service_token_refused"]
            assert [(line["log_level"], line["reason"]) for line in told] == [("error", reason)]
            assert (refused.value.reason, refused.value.retry_after_seconds) == ("UNAVAILABLE", 1.0)
            assert bad not in f"{refused.value} {logs}"
            renew()
            assert (await gateway.open(ALICE)).state is AccountState.OPEN

    test()

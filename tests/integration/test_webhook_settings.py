"""What WebhookService does where it was given no keys, unusable ones, or no leave to send inside."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from specie.transaction.v1 import DeleteWebhookEndpointRequest, RotateWebhookSecretRequest

from tests.kit.calls import Failed, failed, outcome
from tests.kit.postgres import Database
from tests.kit.service import ServiceProcess, transaction_service
from tests.kit.wallets import asynchronous
from tests.kit.webhook_client import shared_settings
from tests.kit.webhook_operator import ADDRESS, HERE, on_endpoints, operating
from tests.kit.webhooks import ANN, PLACE, hooks_on
from transaction_service.webhooks.endpoint import Wish


@pytest.fixture(scope="module")
def inside(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that lets no webhook go inside: the default."""
    folder = tmp_path_factory.mktemp("inside")
    keys = shared_settings(folder)["WEBHOOK_KEYS_FILE"]
    with transaction_service(database, folder, WEBHOOK_KEYS_FILE=keys) as running:
        yield running


@asynchronous
async def test_without_keys_no_secret_is_made_and_all_else_works(target: str, ledger_database: Database) -> None:
    with hooks_on(ledger_database) as hooks:
        made = await hooks.endpoints.create(Wish(ADDRESS), "sealed", PLACE, ANN)
        assert made is not None
    async with operating(target) as operator:
        for running in (
            operator.create(ADDRESS),
            operator.calls.RotateWebhookSecret(RotateWebhookSecretRequest(name=made.name)),
        ):
            told = await failed(running)
            assert (told.code, told.reason) == ("FAILED_PRECONDITION", "WEBHOOKS_OFF")
            assert "WEBHOOK_KEYS_FILE" in told.message
        assert (await operator.get(made.name)).url == ADDRESS
        assert (await operator.update(made.name, [], description="still here")).endpoint.description == "still here"
        for call, make in on_endpoints(operator, made.name).items():
            if call not in {"rotate", "delete"}:
                assert not isinstance(await outcome(make()), Failed), call
        await operator.calls.DeleteWebhookEndpoint(DeleteWebhookEndpointRequest(name=made.name))


@pytest.mark.parametrize(
    "url", [HERE, "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://10.0.0.1"]
)
def test_unless_it_is_allowed_no_webhook_goes_inside(url: str, inside: ServiceProcess) -> None:
    @asynchronous
    async def refused() -> None:
        async with operating(inside.targets[0]) as operator:
            told = await failed(operator.create(url))
            assert (told.reason, told.metadata["url"]) == ("INVALID_WEBHOOK_URL", url)
            assert (await operator.create(ADDRESS)).endpoint.url == ADDRESS

    refused()


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file"), ("", "there is none in it"), ("secret\n", "key 1 is not 32 bytes")]
)
def test_with_unusable_keys_it_does_not_start(
    content: str | None, problem: str, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "webhooks.keys"
    if content is not None:
        file.write_text(content)
    process = ServiceProcess(
        "transaction_service", "SPECIE_TRANSACTION_", database, tmp_path / "log", WEBHOOK_KEYS_FILE=file
    )
    process.launch()
    try:
        assert process.wait() == 1
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    [event] = process.events("failed")
    assert problem in event["error"]
    assert str(file) in event["error"]

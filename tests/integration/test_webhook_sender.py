"""The way to receivers: nowhere it may not go, nothing followed, and no more read or waited for than is bearable."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp.client_proto import ResponseHandler

from specie_cli.stack.authority import Authority
from tests.kit.ports import free_port
from tests.kit.receiver import Receiver, Reply
from transaction_service.adapters.webhook_sender import ANSWER_BYTES_MAX, RECEIVED_AT_ONCE_MAX, HttpSender
from transaction_service.webhooks.sending import Answer

HEADERS = {"webhook-id": "evt_1"}


def send(*urls: str, private: bool = True, timeout_seconds: float = 10) -> list[Answer]:
    """One after the other, as one courier."""

    async def work() -> list[Answer]:
        sender = HttpSender(timeout_seconds, private=private)
        try:
            return [await sender.send(url, HEADERS, "{}") for url in urls]
        finally:
            await sender.close()

    return asyncio.run(work())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def test_it_is_sent(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(202)
    assert send(receiver.url) == [Answer(202)]
    [got] = receiver.got
    assert (got.id, got.body) == ("evt_1", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0"])  # noqa: S104
def test_it_does_not_go_to_this_machine_however_that_is_written(receiver: Receiver, host: str) -> None:
    [answer] = send(f"http://{host}:{receiver.port}/hook", private=False)
    assert answer.status == 0
    assert receiver.got == []


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://10.0.0.1"]
)
def test_nor_encrypted_to_private_networks(url: str) -> None:
    [answer] = send(url, private=False)
    assert "may not go to" in answer.error


def test_what_the_inner_address_of_a_name_is_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(_host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("10.1.2.3", "10.1.2.4")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    [answer] = send("https://inner.example.com/", private=False)
    assert "may not go to" in answer.error
    assert "10.1.2" not in answer.error


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0"])  # noqa: S104
def test_some_addresses_are_never_allowed(host: str) -> None:
    [answer] = send(f"http://{host}/latest/meta-data")
    assert "may not go to" in answer.error


def test_in_plain_text_it_goes_to_no_other_network() -> None:
    [answer] = send("http://93.184.215.14/hook")
    assert "may not go to" in answer.error


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(307, {"location": f"http://127.0.0.1:{receiver.port}/elsewhere"})
    assert send(receiver.url) == [Answer(307)]
    assert [got.path for got in receiver.got] == ["/hook"]


def test_cookies_do_not_come_back(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(200, {"set-cookie": "a=b; Path=/"})
    send(receiver.url, receiver.url)
    assert all("cookie" not in got.headers for got in receiver.got)


def test_no_proxy_is_taken_from_the_environment(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert send(receiver.url) == [Answer(200)]


def test_a_wish_to_be_left_alone_for_a_while_is_heard(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(429, {"retry-after": "30"})
    assert send(receiver.url) == [Answer(429, "", 30)]


def test_an_answer_that_takes_too_long_is_none(receiver: Receiver) -> None:
    receiver.answer = lambda _: Reply(seconds=5)
    assert send(receiver.url, timeout_seconds=0.2) == [Answer(0, "no answer within 0.2 s")]


def test_where_nobody_listens_there_is_no_connection() -> None:
    [answer] = send(f"http://127.0.0.1:{free_port()}/hook")
    assert answer.error.startswith("no connection")


def test_a_host_that_is_not_known_is_no_connection() -> None:
    [answer] = send("https://nobody.invalid/hook")
    assert answer.error.startswith("no connection")


def test_names_whose_servers_do_not_answer_hold_up_no_others(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, over = socket.getaddrinfo, threading.Event()

    def slow(host: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as getaddrinfo
        if host.startswith("silent"):
            over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def work() -> list[Answer]:
        sender = HttpSender(10, private=True)
        silent = [asyncio.create_task(sender.send(f"https://silent{n}.example/", HEADERS, "{}")) for n in range(100)]
        try:
            heard = await sender.send(f"http://localhost:{receiver.port}/hook", HEADERS, "{}")
            over.set()
            return [heard, *await asyncio.gather(*silent)]
        finally:
            over.set()
            await sender.close()

    heard, *silent = asyncio.run(work())
    assert heard == Answer(200)
    assert all(answer.error.startswith("no connection") for answer in silent)


def test_who_does_not_speak_tls_is_no_receiver(receiver: Receiver) -> None:
    [answer] = send(f"https://127.0.0.1:{receiver.port}/hook")
    assert answer.error.startswith("no connection")


@pytest.mark.parametrize(
    ("spoken", "status"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 10 * ANSWER_BYTES_MAX, 200),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", 200),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n", 0),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", 200),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n", 0),
        (b"SSH-2.0-OpenSSH\r\n", 0),
        (b"", 0),
    ],
)
def test_whatever_a_receiver_says_is_an_answer_or_none(spoken: bytes, status: int) -> None:
    async def work() -> Answer:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            writer.write(spoken)
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        sender = HttpSender(5, private=True)
        port = server.sockets[0].getsockname()[1]
        try:
            return await sender.send(f"http://127.0.0.1:{port}/", HEADERS, "{}")
        finally:
            await sender.close()
            server.close()

    answer = asyncio.run(work())
    assert answer.status == status
    assert bool(answer.problem) == (status == 0)


def test_who_goes_on_without_end_leaves_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken in one turn of the event loop is what the socket holds, and that is not much."""
    said = b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000
    take, taken = ResponseHandler.data_received, [0]

    def taking(handler: ResponseHandler, data: bytes) -> None:
        taken.append(len(data))
        take(handler, data)

    def speak(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            while True:
                connection.sendall(said)

    monkeypatch.setattr(ResponseHandler, "data_received", taking)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        speaking = threading.Thread(target=speak, args=(listening,))
        speaking.start()
        answers = send(f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout_seconds=0.5)
        speaking.join()
    assert answers == [Answer(0, "no answer within 0.5 s")]
    assert sum(taken) > RECEIVED_AT_ONCE_MAX
    # Linux makes the buffer twice as large as it is told, for its own needs.
    assert max(taken) <= 2 * RECEIVED_AT_ONCE_MAX


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[tuple[Receiver, Path]]:
    """A receiver on 127.0.0.1 with a certificate, and the authority that signed it."""
    authority = Authority(tmp_path)
    authority.make()
    pair = authority.sign("receiver", ["127.0.0.1"])
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(pair.certificate, pair.key)
    with Receiver(encrypted_by=own) as listening:
        yield listening, authority.certificate


def test_a_certificate_of_a_known_authority_is_taken(
    encrypted: tuple[Receiver, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, authority = encrypted
    trusting = ssl.create_default_context(cafile=str(authority))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    assert send(f"https://127.0.0.1:{receiver.port}/hook") == [Answer(200)]


def test_a_certificate_of_any_other_is_not(encrypted: tuple[Receiver, Path]) -> None:
    receiver, _ = encrypted
    [answer] = send(f"https://127.0.0.1:{receiver.port}/hook")
    assert answer.status == 0
    assert receiver.got == []

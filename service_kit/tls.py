"""Mutual TLS on the inner network: each side shows a certificate of the same authority."""

from pathlib import Path

import grpc

from service_kit.settings import ProcessSettings


def server_credentials(settings: ProcessSettings) -> grpc.ServerCredentials | None:
    """None: plain. Nobody without a certificate of the authority gets a word in. Raises OSError for a file that cannot
    be read."""
    if not settings.tls_ca_file:
        return None
    authority, key, certificate = _files(settings)
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


def channel_credentials(settings: ProcessSettings) -> grpc.ChannelCredentials | None:
    """None: plain. The server's certificate must be the authority's and name the host that is called. Raises as
    above."""
    if not settings.tls_ca_file:
        return None
    return grpc.ssl_channel_credentials(*_files(settings))


def _files(settings: ProcessSettings) -> tuple[bytes, bytes, bytes]:
    """The authority, the key, the certificate."""
    paths = (settings.tls_ca_file, settings.tls_key_file, settings.tls_certificate_file)
    authority, key, certificate = (Path(path).read_bytes() for path in paths)
    return authority, key, certificate

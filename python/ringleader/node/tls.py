"""TLS of a node: the contexts of its ports, made of the cluster file's `[tls]`."""

from __future__ import annotations

import ssl

from ringleader.errors import ClusterFileError
from ringleader.node.config import Tls


def client_port(tls: Tls) -> ssl.SSLContext | None:
    """For the port of clients; None: it speaks no TLS.

    Raises:
        ClusterFileError: the certificate or its key cannot be used.
    """
    return _server(tls) if tls.clients else None


def peer_port(tls: Tls) -> ssl.SSLContext | None:
    """For the port of other nodes, which have to show a certificate; None: it speaks no TLS.

    Raises:
        ClusterFileError: the certificate, its key or the authority's cannot be used.
    """
    if not tls.peers:
        return None
    context = _server(tls)
    _trust(context, tls)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def peer_dial(tls: Tls) -> ssl.SSLContext | None:
    """For connections to other nodes; None: they speak no TLS.

    Raises:
        ClusterFileError: as `peer_port`.
    """
    if not tls.peers:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # nodes are known by name: `Peers` checks that
    _own(context, tls)
    _trust(context, tls)
    return context


def _server(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _own(context, tls)
    return context


def _own(context: ssl.SSLContext, tls: Tls) -> None:
    try:
        context.load_cert_chain(tls.cert, tls.key or None)
    except (OSError, ssl.SSLError) as error:
        raise ClusterFileError(
            f"tls: the certificate {tls.cert} with the key {tls.key} cannot be used: {error}"
        ) from error


def _trust(context: ssl.SSLContext, tls: Tls) -> None:
    try:
        context.load_verify_locations(tls.ca)
    except (OSError, ssl.SSLError) as error:
        raise ClusterFileError(f"tls: the authority {tls.ca} cannot be used: {error}") from error

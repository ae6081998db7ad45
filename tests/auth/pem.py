"""Private keys as the settings hold them."""

from typing import Any

from cryptography.hazmat.primitives import serialization


def pem_of(private_key: Any, password: bytes = b"") -> str:
    pem: bytes = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )
    return pem.decode()

"""A certificate for one test run."""

import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Certificate:
    """Paths of the PEM files; the certificate signs itself."""

    cert: str
    key: str


def self_signed(folder):
    """A certificate for localhost and 127.0.0.1, by the openssl command."""
    made = Certificate(str(folder / "cert.pem"), str(folder / "key.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", made.key, "-out", made.cert],
        check=True,
        capture_output=True,
    )
    return made

"""Every image: what only the build needed is in no layer."""

import os
import re
import subprocess
from pathlib import Path

import pytest

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s*(.*?)\s*-----END CERTIFICATE-----", re.DOTALL)
PUBLIC_CERTIFICATES = (
    "cat /usr/share/ca-certificates/*/*.crt;"
    "for venv in /opt/venv /usr/lib/python3*; do find $venv -name cacert.pem -exec cat {} + 2>/dev/null || true; done"
)


def host_file(variable, default):
    path = Path(os.environ.get(variable) or default)
    return path.read_text(errors="replace") if path.is_file() else ""


def host_secrets(idle):
    """Bytes by which the secrets that the host gives to builds would be known again, with a name each."""
    public = {"".join(body.split()) for body in CERTIFICATE.findall(idle.sh(PUBLIC_CERTIFICATES))}
    bundle = host_file("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    own = [body for body in CERTIFICATE.findall(bundle) if "".join(body.split()) not in public]
    secrets = {f"certificate {number} of the host's own": body.encode() for number, body in enumerate(own)}
    pip_conf = host_file("PIP_CONFIG_FILE", "/etc/pip.conf").strip()
    if len(pip_conf) > 16:
        secrets["the host's pip settings"] = pip_conf.encode()
    return secrets


def found_in(stream, secrets):
    """Names of those secrets that occur in a stream of bytes, wherever its chunks are cut."""
    longest = max(map(len, secrets.values()))
    found, tail = set(), b""
    while chunk := stream.read(8 << 20):
        window = tail + chunk
        found |= {name for name, secret in secrets.items() if secret in window}
        tail = window[-longest:]
    return found


def test_the_search_finds_what_lies_across_two_chunks(tmp_path):
    file = tmp_path / "layers"
    file.write_bytes(b"x" * ((8 << 20) - 3) + b"secret" + b"y" * 100)
    with file.open("rb") as stream:
        assert found_in(stream, {"it": b"secret", "other": b"secrets"}) == {"it"}


def test_no_secret_of_the_host_is_in_any_layer(image, idle):
    secrets = host_secrets(idle)
    if not secrets:
        pytest.skip("this host has neither certificates of its own nor pip settings: there is nothing to find")
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
        found = found_in(save.stdout, secrets)
    assert save.returncode == 0
    assert not found


def test_mount_points_of_secrets_are_empty(idle):
    assert idle.sh("find /run/secrets /var/cache/pip -type f -size +0 2>/dev/null || true", user="0") == ""


def test_no_package_lists_and_no_downloads(idle):
    assert idle.sh("find /var/lib/apt/lists /var/cache/apt -type f ! -name lock", user="0") == ""


def test_the_history_names_no_secret(image_config, image):
    history = subprocess.run(
        ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image], capture_output=True, text=True, check=True
    ).stdout
    settings = "\n".join(image_config["Config"].get("Env") or [])
    assert "BEGIN CERTIFICATE" not in history + settings
    assert not re.search(r"(?i)(password|token)=\S", history + settings)

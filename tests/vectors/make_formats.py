"""Writes formats.json: what other systems say of the owners of keys.

Made with the systems themselves, none of ringleader: Debian's nginx, asked over HTTP, and
libmemcached, by ctypes.  Keys are made here by `keys(seed, count)`, alike in the tests.

    python tests/vectors/make_formats.py --nginx /usr/sbin/nginx --libmemcached libmemcached.so.11

(Debian packages nginx and libmemcached11; written with 1.22.1 and 1.1.4.)
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import socket
import struct
import subprocess
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

SAMPLE = 100

#: In the order of the lists.
NGINX = [
    {f"127.0.0.{i}:8{i:03}": 1 for i in range(2, 12)},
    {
        "127.0.1.1:8080": 3,
        "127.0.1.2:8080": 1,
        "unix:SOCKET": 2,
        "127.0.1.3": 5,
        "127.0.1.10:8443": 1,
        "[::1]:8081": 2,
    },
]
MEMCACHED = [
    {f"10.0.1.{i}:11211": 1 for i in range(1, 11)},
    {"10.0.1.1:11211": 600, "10.0.1.2:11212": 300, "cache.internal:11211": 200, "/run/mc.sock": 5},
    {f"10.2.{i // 250}.{i % 250}:1{1200 + i % 30}": 1 + i * i % 7 for i in range(61)},
    {f"h{i}:11211": 1 for i in range(61)},
    {f"h{i}:11211": 1 for i in range(100)},
]


def keys(seed: int, count: int) -> list[bytes]:
    """Texts, ASCII and not, and bytes, without what HTTP headers and C strings cannot carry."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        kind = number % 3
        if kind == 0:
            made.append(f"user:{chance.getrandbits(40)}".encode())
        elif kind == 1:
            made.append(f"ключ-{chance.getrandbits(30)}-日本".encode())
        else:
            size = 1 + chance.getrandbits(6)
            made.append(bytes(0x21 + chance.getrandbits(16) % 222 for _ in range(size)))
    return made


def answers(servers: dict[str, int], owners: list[int], seed: int) -> dict[str, Any]:
    """The owners as indices into the list of servers: some, and the CRC-32 of all as u16."""
    return {
        "servers": servers,
        "seed": seed,
        "count": len(owners),
        "sample": owners[:SAMPLE],
        "crc32": f"{zlib.crc32(struct.pack(f'<{len(owners)}H', *owners)):08x}",
    }


# --- nginx --------------------------------------------------------------------------------------


def ask_nginx(nginx: str, servers: dict[str, int], wanted: list[bytes]) -> list[int]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        lines, blocks = [], []
        for index, (name, weight) in enumerate(servers.items()):
            lines.append(f"server {name} weight={weight};")
            blocks.append(f"server {{ listen {name}; return 200 '{index}\\n'; }}")
        config = Path(folder, "nginx.conf")
        config.write_text(
            f"""
            worker_processes 1; error_log {folder}/error.log; pid {folder}/pid; daemon off;
            events {{ worker_connections 1000; }}
            http {{
                access_log off; keepalive_requests 100000000;
                client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
                fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
                upstream all {{
                    hash $http_x_key consistent; {" ".join(lines)} keepalive 64;
                }}
                {" ".join(blocks)}
                server {{
                    listen unix:{folder}/front;
                    location / {{
                        proxy_pass http://all; proxy_http_version 1.1;
                        proxy_set_header Connection ""; proxy_set_header X-Key "";
                    }}
                }}
            }}
            """
        )
        process = subprocess.Popen([nginx, "-p", folder, "-c", str(config)])
        try:
            front = Path(folder, "front")
            for _ in range(100):
                if front.exists():
                    break
                time.sleep(0.1)
            return _over_one_connection(str(front), wanted)
        finally:
            process.terminate()
            process.wait()


def _over_one_connection(path: str, wanted: list[bytes]) -> list[int]:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    reader = connection.makefile("rb")
    owners = []
    together = 50  # requests in flight
    for at in range(0, len(wanted), together):
        part = wanted[at : at + together]
        connection.sendall(
            b"".join(b"GET / HTTP/1.1\r\nHost: x\r\nX-Key: " + key + b"\r\n\r\n" for key in part)
        )
        for _ in part:
            status = reader.readline()
            assert b" 200 " in status, status
            size = 0
            while (line := reader.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    size = int(line.partition(b":")[2])
            owners.append(int(reader.read(size)))
    return owners


# --- libmemcached -------------------------------------------------------------------------------

KETAMA_WEIGHTED = 16


def ask_libmemcached(path: str, servers: dict[str, int], wanted: list[bytes]) -> list[int]:
    library = ctypes.CDLL(path)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32
    library.memcached_create.restype = pointer
    library.memcached_behavior_set.argtypes = [pointer, ctypes.c_int, ctypes.c_uint64]
    add, add_socket = (
        library.memcached_server_add_with_weight,
        library.memcached_server_add_unix_socket_with_weight,
    )
    add.argtypes = [pointer, text, ctypes.c_uint16, number]
    add_socket.argtypes = [pointer, text, number]
    library.memcached_generate_hash.argtypes = [pointer, text, ctypes.c_size_t]
    library.memcached_generate_hash.restype = number
    library.memcached_free.argtypes = [pointer]
    client = library.memcached_create(None)
    assert library.memcached_behavior_set(client, KETAMA_WEIGHTED, 1) == 0
    for name, weight in servers.items():
        if name.startswith("/"):
            assert add_socket(client, name.encode(), weight) == 0
        else:
            host, _, port = name.rpartition(":")
            assert add(client, host.strip("[]").encode(), int(port), weight) == 0
    owners = [library.memcached_generate_hash(client, key, len(key)) for key in wanted]
    library.memcached_free(client)
    return owners


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nginx", required=True)
    parser.add_argument("--libmemcached", required=True)
    parser.add_argument("--count", type=int, default=100_000)
    given = parser.parse_args()
    made: dict[str, list[Any]] = {"nginx": [], "libmemcached": []}
    for seed, servers in enumerate(NGINX, 1):
        placed = {
            name.replace("SOCKET", "/tmp/ringleader-vectors"): w for name, w in servers.items()
        }
        owners = ask_nginx(given.nginx, placed, keys(seed, given.count))
        made["nginx"].append(answers(placed, owners, seed))
    for seed, servers in enumerate(MEMCACHED, 11):
        owners = ask_libmemcached(given.libmemcached, servers, keys(seed, given.count))
        made["libmemcached"].append(answers(servers, owners, seed))
    out = Path(__file__).with_name("formats.json")
    out.write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

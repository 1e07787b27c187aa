"""Damaged images, for tests that ask for an error or a result, and never a crash."""

import zlib


def mutate(contents, rng):
    """Some bytes of a file changed, cut out, doubled, or its end cut off."""
    changed = bytearray(contents)
    for _ in range(rng.integers(1, 9)):
        kind, at = rng.integers(5), int(rng.integers(2, len(changed)))
        if kind == 0:
            changed[at] = rng.integers(256)
        elif kind == 1:
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 20))]
        elif kind == 3:
            changed[at:at] = changed[at : at + int(rng.integers(1, 20))]
        elif len(changed) > 200:
            del changed[int(rng.integers(100, len(changed))) :]
    return bytes(changed)


def png(width, height, rows=b""):
    """A grey PNG of one bit a pixel; `rows` are its decompressed lines."""

    def chunk(kind, body):
        return (
            len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        )

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body

"""Mutations of seed inputs: bytes flipped, cut, repeated, spliced, and tokens of the format put in."""

from collections.abc import Sequence
from random import Random

TOKENS = (
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0", b"\r", b"\r\n", b"\n\n", b"\t", b'"', b'""', b"'", b"\\",
    b"\\ud83d", b"\\udc00\\ud800", b"NaN", b"-Infinity", b"1e400", b"1" + b"0" * 4400, b"-0", b"null", b"true",
    b"[" * 120, b"{" * 120, b"]", b"}", b"[]", b"{}", b",", b":", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80",
    b"e\xcc\x81", b"\xe2\x80\xa8", b"../../x", b"/etc/hostname", b"<image>", b"<|im_end|>", b"</think>", b"<answer>",
    b"```json", b"&a", b"*a", b"!!int ", b"%", b"\x7f", b"\x1b[31m", b" " * 70, b"A" * 5000,
)  # fmt: skip


def mutated(seeds: Sequence[bytes], tokens: Sequence[bytes], rng: Random) -> bytes:
    """Return a seed after some mutations; now and then a seed as it is."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + int(rng.expovariate(1 / 12)) + 1)
        match rng.randrange(9):
            case 0 if data:
                data[place % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[place:end]
            case 2:
                del data[place:]
            case 3:
                data[place:place] = data[place:end] * rng.choice((1, 2, 30))
            case 4:
                data[place:end] = rng.choice(tokens)
            case 5:
                data[place:place] = rng.choice(tokens)
            case 6:
                data[place:end] = rng.randbytes(end - place)
            case 7:
                other = rng.choice(seeds)
                data[place:] = other[rng.randrange(len(other) + 1) :]
            case 8:
                data[place:place] = rng.choice(seeds)
    return bytes(data[: 1 << 20])


def recoded(data: bytes, rng: Random) -> bytes:
    """Return a text in another encoding or with other line ends; most often as it is."""
    if rng.random() < 0.8:
        return data
    text = data.decode("utf-8", "replace").replace("\n", rng.choice(("\n", "\r\n", "\r")))
    return text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")), "replace")

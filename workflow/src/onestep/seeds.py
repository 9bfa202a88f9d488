"""Random streams: every network, input and bootstrap has its own, named by what it is and not by who draws it."""

import hashlib

import numpy as np


def stream(root: int, *coordinates: str | int) -> np.random.Generator:
    """The random generator that belongs to `coordinates` (names and indices) under the root seed.

    The stream depends on nothing but its arguments, so the same network is drawn whatever job, order or machine draws it.
    SFC64 is used because its normal variates are the fastest of NumPy's and do not depend on the processor's vector units.
    """
    name = "/".join([str(root), *map(str, coordinates)]).encode()
    return np.random.Generator(np.random.SFC64(int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "big")))

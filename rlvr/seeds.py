"""Seeds derived from seeds."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int) -> int:
    """A seed in [0, 2⁴⁸) that differs wherever a part differs, the same on every machine and in every version."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big")

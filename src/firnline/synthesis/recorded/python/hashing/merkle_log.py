"""A tamper-evident log: short proofs that an entry is in it.

A server keeps a log of a million entries and publishes one hash, the root of a
Merkle tree.  With about twenty more hashes it can then prove to anyone that some
entry is in the log at a given place, and nobody can forge such a proof without
breaking the hash function.

Leaves and inner nodes are hashed with different first bytes.  Without that, an inner
node could be presented as if it were an entry.  A tree whose size is not a power of
two is split at the largest power of two below its size, so subtrees never change
once they are full, and appending needs only the hashes of the full ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """Return the largest power of two smaller than ``size``."""
    return 1 << (size - 1).bit_length() - 1


@dataclass(frozen=True)
class Proof:
    """Hashes of the siblings on the way from an entry up to the root."""

    index: int
    size: int
    path: tuple[bytes, ...]


class MerkleLog:
    """An append-only list of byte strings.

    >>> log = MerkleLog([b"a", b"b", b"c"])
    >>> verify(log.root(), b"b", log.prove(1))
    True
    """

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._leaves: list[bytes] = []
        # Roots of full subtrees, largest first: one for each one-bit of the size.
        self._peaks: list[bytes] = []
        self._cache: dict[tuple[int, int], bytes] = {}
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._leaves)

    def append(self, entry: bytes) -> int:
        """Add an entry and return its index."""
        node = leaf_hash(entry)
        carry = len(self._leaves)
        self._leaves.append(node)
        while carry & 1:  # like adding one to a binary counter
            node = node_hash(self._peaks.pop(), node)
            carry >>= 1
        self._peaks.append(node)
        return len(self._leaves) - 1

    def root(self) -> bytes:
        """Return the hash that stands for the whole log."""
        if not self._peaks:
            return sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def _subtree(self, start: int, stop: int) -> bytes:
        if stop - start == 1:
            return self._leaves[start]
        if (start, stop) in self._cache:
            return self._cache[start, stop]
        middle = start + _split(stop - start)
        value = node_hash(self._subtree(start, middle), self._subtree(middle, stop))
        if (stop - start).bit_count() == 1:  # a full subtree is final
            self._cache[start, stop] = value
        return value

    def prove(self, index: int) -> Proof:
        """Return a proof that the entry at ``index`` belongs to the current root."""
        if not 0 <= index < len(self):
            raise IndexError(f"no entry {index} in a log of {len(self)}")
        start, stop, path = 0, len(self), []
        while stop - start > 1:
            middle = start + _split(stop - start)
            if index < middle:
                path.append(self._subtree(middle, stop))
                stop = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return Proof(index, len(self), tuple(reversed(path)))


def verify(root: bytes, entry: bytes, proof: Proof) -> bool:
    """Check a proof with nothing but the published root."""
    if not 0 <= proof.index < proof.size:
        return False
    # Repeat the way down to learn on which side each sibling stands.
    start, stop, sides = 0, proof.size, []
    while stop - start > 1:
        middle = start + _split(stop - start)
        sibling_is_right = proof.index < middle
        sides.append(sibling_is_right)
        start, stop = (start, middle) if sibling_is_right else (middle, stop)
    if len(sides) != len(proof.path):
        return False
    value = leaf_hash(entry)
    for sibling_is_right, sibling in zip(reversed(sides), proof.path):
        value = node_hash(value, sibling) if sibling_is_right else node_hash(sibling, value)
    return value == root


if __name__ == "__main__":
    entries = [f"payment {number}".encode() for number in range(100)]
    log = MerkleLog()
    roots = {log.root()}
    for size, entry in enumerate(entries, start=1):
        assert log.append(entry) == size - 1
        roots.add(log.root())
        for index in {0, size // 3, size - 1}:
            proof = log.prove(index)
            assert verify(log.root(), entries[index], proof)
            assert len(proof.path) <= (size - 1).bit_length()
    assert len(roots) == 101, "every version has a root of its own"
    print("root:", log.root().hex()[:16], "proof length:", len(log.prove(42).path))

    root, proof = log.root(), log.prove(42)
    assert not verify(root, b"payment 43", proof)
    assert not verify(root, entries[42], Proof(43, 100, proof.path))
    assert not verify(root, entries[42], Proof(42, 100, proof.path[:-1]))
    assert not verify(root, entries[42], Proof(42, 40, proof.path))
    # The content of an inner node must not pass as an entry.
    pair = leaf_hash(b"x") + leaf_hash(b"y")
    assert not verify(MerkleLog([b"x", b"y"]).root(), pair, Proof(0, 1, ()))
    try:
        log.prove(100)
    except IndexError as error:
        print("refused:", error)

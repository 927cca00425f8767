"""A priority queue whose entries can be changed or removed by key.

``heapq`` offers no way to raise the priority of an entry that is already queued;
the usual trick of pushing a second entry and skipping the stale one later lets
the heap grow without bound when priorities change often.  ``IndexedHeap`` keeps a
dictionary from each key to its position in the heap array, so any entry can be
found at once and sifted up or down from where it stands.

The class behaves like a mutable mapping from key to priority that iterates in
priority order and whose smallest entry is always at hand.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, MutableMapping
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)


class IndexedHeap(MutableMapping[K, Any]):
    """Map keys to priorities; the least priority comes first.

    Entries with equal priorities leave in the order in which they got them.

    >>> queue = IndexedHeap({"write": 5, "test": 3, "ship": 9})
    >>> queue["ship"] = 1
    >>> queue.popitem()
    ('ship', 1)
    >>> queue.peek()
    ('test', 3)
    """

    def __init__(self, entries: Any = ()) -> None:
        self._heap: list[tuple[Any, int, K]] = []
        self._position: dict[K, int] = {}
        self._clock = 0
        for key, priority in dict(entries).items():
            self._position[key] = len(self._heap)
            self._heap.append((priority, self._tick(), key))
        for index in reversed(range(len(self._heap) // 2)):
            self._sift_down(index)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def __getitem__(self, key: K) -> Any:
        return self._heap[self._position[key]][0]

    def __setitem__(self, key: K, priority: Any) -> None:
        entry = (priority, self._tick(), key)
        index = self._position.get(key)
        if index is None:
            self._heap.append(entry)
            self._position[key] = len(self._heap) - 1
            self._sift_up(len(self._heap) - 1)
        else:
            self._replace(index, entry)

    def __delitem__(self, key: K) -> None:
        index = self._position.pop(key)
        last = self._heap.pop()
        if index < len(self._heap):  # otherwise the entry removed was the last one
            self._replace(index, last)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys by priority without changing the queue."""
        return (key for _, _, key in sorted(self._heap, key=lambda entry: entry[:2]))

    def __contains__(self, key: object) -> bool:
        return key in self._position

    def peek(self) -> tuple[K, Any]:
        """Return the first entry and leave it in the queue."""
        if not self._heap:
            raise IndexError("the queue is empty")
        priority, _, key = self._heap[0]
        return key, priority

    def popitem(self) -> tuple[K, Any]:
        """Remove and return the first entry."""
        key, priority = self.peek()
        del self[key]
        return key, priority

    def improve(self, key: K, priority: Any) -> bool:
        """Set the priority if the key is new or the priority is smaller than before."""
        if key in self and not priority < self[key]:
            return False
        self[key] = priority
        return True

    def _replace(self, index: int, entry: tuple[Any, int, K]) -> None:
        """Put ``entry`` at ``index`` and let it find its place."""
        self._heap[index] = entry
        self._position[entry[2]] = index
        self._sift_up(index)
        self._sift_down(self._position[entry[2]])

    def _less(self, a: int, b: int) -> bool:
        return self._heap[a][:2] < self._heap[b][:2]

    def _swap(self, a: int, b: int) -> None:
        heap = self._heap
        heap[a], heap[b] = heap[b], heap[a]
        self._position[heap[a][2]], self._position[heap[b][2]] = a, b

    def _sift_up(self, index: int) -> None:
        while index and self._less(index, parent := (index - 1) // 2):
            self._swap(index, parent)
            index = parent

    def _sift_down(self, index: int) -> None:
        while (child := 2 * index + 1) < len(self._heap):
            if child + 1 < len(self._heap) and self._less(child + 1, child):
                child += 1
            if not self._less(child, index):
                return
            self._swap(index, child)
            index = child


def smallest_first(queue: IndexedHeap[K]) -> Iterable[tuple[K, Any]]:
    """Empty the queue, yielding its entries; changes made meanwhile are seen."""
    while queue:
        yield queue.popitem()


if __name__ == "__main__":
    triage = IndexedHeap({"sprain": 4, "fracture": 2, "cough": 5})
    triage["chest pain"] = 1
    triage["cough"] = 0  # the patient got worse while waiting
    del triage["sprain"]
    print("waiting:", list(triage))
    assert [name for name, _ in smallest_first(triage)] == ["cough", "chest pain", "fracture"]

    heap: IndexedHeap[int] = IndexedHeap()
    model: dict[int, int] = {}
    state = 1
    for step in range(3000):
        state = state * 48271 % 2147483647
        key, priority = state % 50, state // 50 % 1000
        if step % 4 == 3 and key in model:
            assert heap.pop(key) == model.pop(key)
        elif step % 7 == 6 and model:
            key, priority = heap.popitem()
            assert priority == min(model.values()) == model.pop(key)
        else:
            heap[key] = model[key] = priority
        assert len(heap) == len(model)
    assert dict(heap) == model and list(heap.values()) == sorted(model.values())
    assert not heap.improve(next(iter(heap)), 10**6)
    try:
        IndexedHeap().peek()
    except IndexError as error:
        print("peek:", error)

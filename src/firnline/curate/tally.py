"""How much of each benchmark a corpus holds, counted document by document and merged.

A tally's size is bounded by the benchmarks: counts for each task found, one bit for each n-gram,
and the best SPANS spans of a task. Merging is associative and does not depend on order.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from firnline.curate.contamination import KINDS, Evidence, Index, Span

SPANS = 5
"""Documents that are named as evidence for a task."""

SPANS_SCHEMA = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("document", pa.binary(16), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("stop", pa.int64(), nullable=False),
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)

# A document's best span of a task: of the strongest kind, then the longest, then the first.
_Best = tuple[int, int, str, int, int, str, str, str]  # kind, -bytes, id, start, stop, repo, ...


class Tally:
    """What documents held of the tasks of an index, which is known by its tasks' numbers."""

    def __init__(self, index: Index) -> None:
        self.documents = 0
        """Documents that were searched."""
        self.contaminated = 0
        self.by_benchmark: Counter[str] = Counter()
        """Documents that hold a task of a benchmark."""
        self.by_kind: Counter[tuple[int, str]] = Counter()
        """Documents by (task, kind)."""
        self.by_task: Counter[int] = Counter()
        self.largest: dict[int, float] = {}
        """The largest share of a task's n-grams that one document holds."""
        self.seen = np.zeros(index.ngram_numbers, dtype=bool)
        self.best: dict[int, list[_Best]] = {}
        self._index = index

    def add(
        self,
        found: Mapping[int, Evidence],
        ids: Sequence[bytes],
        repos: Sequence[str],
        paths: Sequence[str],
    ) -> None:
        """Counts a batch of searched documents; `found` is what `Index.find` gave for it."""
        self.documents += len(ids)
        self.contaminated += len(found)
        for row, evidence in found.items():
            self.by_task.update(evidence.tasks)
            self.by_kind.update({(span.task, span.kind) for span in evidence.spans})
            self.by_benchmark.update({self._index.tasks[task][0] for task in evidence.tasks})
            best: dict[int, _Best] = {}
            for span in evidence.spans:
                row_of_span = _row(span, ids[row].hex(), repos[row], paths[row])
                best[span.task] = min(best.get(span.task, row_of_span), row_of_span)
            self._keep({task: [row_of_span] for task, row_of_span in best.items()})
            self.seen[list(evidence.ngrams)] = True
            for task, share in self._index.shares(np.array(evidence.ngrams)).items():
                self.largest[task] = max(self.largest.get(task, 0.0), share)

    def _keep(self, rows: Mapping[int, list[_Best]]) -> None:
        for task, more in rows.items():
            self.best[task] = sorted({*self.best.get(task, ()), *more})[:SPANS]

    def merge(self, other: Tally) -> None:
        """Adds what other documents held."""
        self.documents += other.documents
        self.contaminated += other.contaminated
        self.by_benchmark += other.by_benchmark
        self.by_kind += other.by_kind
        self.by_task += other.by_task
        for task, share in other.largest.items():
            self.largest[task] = max(self.largest.get(task, 0.0), share)
        self.seen |= other.seen
        self._keep(other.best)

    def pack(self) -> dict[str, Any]:
        """All of it as JSON."""
        bits = zlib.compress(np.packbits(self.seen).tobytes(), 9)
        return {
            "documents": self.documents,
            "contaminated": self.contaminated,
            "by_benchmark": dict(sorted(self.by_benchmark.items())),
            "by_kind": [[*key, count] for key, count in sorted(self.by_kind.items())],
            "by_task": sorted(self.by_task.items()),
            "largest": sorted(self.largest.items()),
            "seen": base64.b64encode(bits).decode(),
            "best": sorted(self.best.items()),
        }

    @classmethod
    def unpack(cls, index: Index, packed: Mapping[str, Any]) -> Tally:
        """The tally that `pack` wrote, for the same index."""
        tally = cls(index)
        tally.documents, tally.contaminated = packed["documents"], packed["contaminated"]
        tally.by_benchmark = Counter(packed["by_benchmark"])
        tally.by_kind = Counter({(task, kind): n for task, kind, n in packed["by_kind"]})
        tally.by_task = Counter(dict(packed["by_task"]))
        tally.largest = dict(packed["largest"])
        bits = np.frombuffer(zlib.decompress(base64.b64decode(packed["seen"])), dtype=np.uint8)
        tally.seen = np.unpackbits(bits, count=index.ngram_numbers).astype(bool)
        tally.best = {task: [tuple(row) for row in rows] for task, rows in packed["best"]}
        return tally

    def report(self) -> dict[str, Any]:
        """For each benchmark a summary and its tasks of which anything was found.

        Of a task: `documents` that hold any of it and those by kind, how many n-grams tell of it
        (`ngrams`), the `share` of them that the corpus holds, and the largest share that one
        document does. A benchmark's `share` is the mean over all its tasks.
        """
        ngrams = self._index.ngrams_by_task
        shares = self._index.shares(np.flatnonzero(self.seen))
        tasks = self._index.tasks
        report: dict[str, Any] = {
            name: {"tasks": 0, "documents": self.by_benchmark[name], "found": {}}
            for name in self._index.names
        }
        for task, (benchmark, task_id) in enumerate(tasks):
            report[benchmark]["tasks"] += 1
            if self.by_task[task]:
                report[benchmark]["found"][task_id] = {
                    "documents": self.by_task[task],
                    "kinds": {
                        kind: self.by_kind[task, kind] for kind in KINDS if self.by_kind[task, kind]
                    },
                    "ngrams": int(ngrams[task]),
                    "share": round(shares.get(task, 0.0), 4),
                    "largest_share": round(self.largest.get(task, 0.0), 4),
                }
        for part in report.values():
            part["tasks_found"] = len(part["found"])
            part["tasks_by_kind"] = {
                kind: sum(kind in found["kinds"] for found in part["found"].values())
                for kind in KINDS
            }
            total = sum(found["share"] for found in part["found"].values())
            part["share"] = round(total / part["tasks"], 4)
        return report

    def spans(self) -> pa.Table:
        """The evidence kept, in the order of the tasks, the best first: SPANS_SCHEMA."""
        rows = [
            (
                *self._index.tasks[task],
                KINDS[kind],
                bytes.fromhex(name),
                repo,
                path,
                start,
                stop,
                text,
            )
            for task, best in sorted(self.best.items())
            for kind, _, name, start, stop, repo, path, text in best
        ]
        columns = zip(*rows, strict=True) if rows else [[] for _ in SPANS_SCHEMA]
        arrays = [
            pa.array(list(column), field.type)
            for column, field in zip(columns, SPANS_SCHEMA, strict=True)
        ]
        return pa.table(arrays, schema=SPANS_SCHEMA)

    def documents_by_task(self) -> dict[str, dict[str, int]]:
        """Documents that hold each task, by benchmark; a task that none holds is left out."""
        found: dict[str, dict[str, int]] = {name: {} for name in self._index.names}
        for task, documents in sorted(self.by_task.items()):
            benchmark, task_id = self._index.tasks[task]
            found[benchmark][task_id] = documents
        return found


def _row(span: Span, document: str, repo: str, path: str) -> _Best:
    kind, size = KINDS.index(span.kind), span.stop - span.start
    return (kind, -size, document, span.start, span.stop, repo, path, span.excerpt)

"""What a phase reads: the folders of its run, opened by what its recipe or its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from firnline.documents import parquet_file
from firnline.errors import FirnlineError
from firnline.phases import Phase, checkpoint_folder
from firnline.tokens.extend import check_checkpoint
from firnline.tokens.grammars import KINDS as GRAMMARS
from firnline.tokens.infilling import InfillingConfig
from firnline.tokens.mixture import Mixture, SourceConfig, open_mixture
from firnline.tokens.packing import PackingConfig
from firnline.tokens.pairs import Pairs
from firnline.tokens.rows import choose
from firnline.tokens.tokenizer import Tokenizer
from firnline.training.objectives.config import (
    ObjectiveConfig,
    Objectives,
    PairConfig,
    turns,
)
from firnline.training.phase import PhaseConfig

Integers = npt.NDArray[np.int64]

# Inputs in the manifest of a training stage: what it read, and from which folders.
DATA = "data"
TOKENS = "tokens "
LABELS = "labels "
PAIRS = "pairs"


class PhaseRecord(BaseModel):
    """What a phase read, as the manifest of its training stage says it."""

    sources: dict[str, SourceConfig]
    packing: PackingConfig
    infilling: InfillingConfig | None
    objective: Objectives | None = None

    @classmethod
    def of(cls, phase: Phase) -> PhaseRecord:
        """What a phase of a recipe reads."""
        return cls(
            sources=phase.sources,
            packing=phase.packing,
            infilling=phase.infilling,
            objective=phase.objective,
        )

    def as_json(self) -> str:
        """The text in the manifest; of next token it says no objective."""
        return self.model_dump_json(exclude={"objective"} if self.objective is None else None)

    @property
    def token_share(self) -> float:
        """Share of the samples that are of the token folders; the others are of pairs."""
        if self.objective is None:
            return 1.0
        return sum(one.share for one in self.objective.reading("tokens", "labels").values())


@dataclass(frozen=True)
class PhaseInputs:
    """The samples of a phase: of text, of labels beside it, of pairs. Opened when asked for."""

    config: PhaseConfig
    record: PhaseRecord
    run: Path
    tokens: Mapping[str, Path]
    """The token folder of each source."""
    labels: Mapping[str, Path]
    """The label folder of each source, where there are objectives that read them."""
    pairs: Path | None
    name: str | None = None
    """Seeds the orders instead of the phase's name."""
    trusted: bool = False
    """Whether the folders are known to be of the run's tokenizer, which may be gone."""

    @property
    def folders(self) -> dict[str, Path]:
        """Each folder that is read, by its key in the manifest."""
        named = {f"{TOKENS}{name}": folder for name, folder in self.tokens.items()}
        named |= {f"{LABELS}{name}": folder for name, folder in self.labels.items()}
        return named | ({PAIRS: self.pairs} if self.pairs is not None else {})

    def manifest(self) -> dict[str, Path | str]:
        """Inputs of the training stage: the record and the folders."""
        found: dict[str, Path | str] = {DATA: self.record.as_json(), **self.folders}
        if any(source.quality for source in self.record.sources.values()):
            found["scores"] = self.run / "annotate"
        return found

    @cached_property
    def samples(self) -> Mixture:
        """Samples of text. Raises FirnlineError where a folder is missing or of another tokenizer,
        or the supply short."""
        return self._open(self.tokens)

    @cached_property
    def label_samples(self) -> Mixture:
        """The labels of the tokens of `samples`."""
        return self._open(self.labels)

    def _open(self, folders: Mapping[str, Path]) -> Mixture:
        share = self.record.token_share  # of the numbered samples so many are read
        sources = {
            name: one.model_copy(update={"max_epochs": one.max_epochs / share})
            for name, one in self.record.sources.items()
        }
        infilling = self.record.infilling
        known = self.trusted and infilling is None
        return open_mixture(
            sources,
            folders,
            phase=self.name or self.config.name,
            seed=self.config.seed,
            tokens=self.config.tokens,
            sequence_length=self.config.sequence_length,
            packing=self.record.packing,
            infilling=infilling,
            tokenizer=None if known else Tokenizer.load(self.run / "tokenizer"),
            scores=self.run / "annotate",
        )

    def open_pairs(self, lengths: PairConfig) -> Pairs:
        """The pairs of the documents that the phase's one source has."""
        key = (lengths.text_length, lengths.code_length)
        if key not in self._pairs:
            self._pairs[key] = self._open_pairs(*key)
        return self._pairs[key]

    @cached_property
    def _pairs(self) -> dict[tuple[int, int], Pairs]:
        return {}

    def _open_pairs(self, text_length: int, code_length: int) -> Pairs:
        assert self.pairs is not None
        ((name, source),) = self.record.sources.items()
        documents = None
        narrowed = set(source.languages) and not set(GRAMMARS) <= set(source.languages)
        if narrowed or source.kinds or source.sources or source.quality:
            keep = choose(self.tokens[name], source, self.run / "annotate").keep
            index = parquet_file(self.tokens[name] / "index.parquet").read(["id"])["id"]
            documents = index.filter(pa.array(keep)).combine_chunks()
        return Pairs(
            self.pairs,
            text_length=text_length,
            code_length=code_length,
            seed=self.config.seed,
            phase=self.name or self.config.name,
            documents=documents,
        )

    def objectives_of(self, samples: Integers) -> list[str]:
        """The objective of each numbered sample, by name; there are objectives."""
        assert self.record.objective is not None
        used, config = self.record.objective.used, self.config
        shares = {name: one.share for name, one in used.items()}
        blocks = samples // config.batch_sequences
        found = turns(shares, config.seed, config.name, blocks)
        return [sorted(shares)[turn] for turn in found.tolist()]

    def numbers_of(self, document: bytes) -> Integers:
        """Which of the phase's samples hold tokens of the document, or a pair of it, in order."""
        count, objective = self.config.samples, self.record.objective
        if objective is None:
            return self.samples.numbers_of(document, count)
        found = [np.zeros(0, dtype=np.int64)]
        for name, one in objective.used.items():
            if isinstance(one, PairConfig):
                pairs = self.open_pairs(one).numbers_of(document, one.pairs_of(0, count)[1])
                numbers = one.samples_of(pairs)
            else:
                numbers = self.samples.numbers_of(document, count)
            mine = [one == name for one in self.objectives_of(numbers)]
            found.append(numbers[np.array(mine, dtype=bool)])
        numbers = np.unique(np.concatenate(found))
        return numbers[numbers < count]

    def units(self, one: ObjectiveConfig) -> int:
        """How many units of samples (`ObjectiveConfig.unit`) go once through what there is."""
        if isinstance(one, PairConfig):
            return len(self.open_pairs(one)) // one.pairs_of(0, one.unit)[1]
        return sum(part.samples.samples_per_epoch for part in self.samples.parts) // one.unit

    def check_pairs(self) -> None:
        """Raises FirnlineError where pairs would be seen more often than `max_epochs`."""
        for row in self._pairs_row():
            ((source, about),) = self.record.sources.items()
            if row["epochs"] > about.max_epochs:
                told = f"its pairs are seen in {row['epochs']:.2f} epochs"
                raise FirnlineError(
                    f"phase {self.config.name} asks for more than its sources have",
                    mend="add documents, lower the share or tokens, or raise max_epochs",
                    details=(f"{source}: {told}, max_epochs is {about.max_epochs:g}",),
                )

    def table(self) -> list[dict[str, Any]]:
        """The rows of `Mixture.table` for the phase; one more for pairs, of unknown bytes."""
        config, share = self.config, self.record.token_share
        rows: list[dict[str, Any]] = []
        if share:
            for row in self.samples.table(config.tokens):
                seen = {key: row[key] * share for key in ("share", "epochs")}
                rows.append({**row, **seen, "tokens": round(row["tokens"] * share)})
        return rows + self._pairs_row()

    def _pairs_row(self) -> list[dict[str, Any]]:
        objective = self.record.objective
        parts = objective.reading("pairs").values() if objective else ()
        read = [one for one in parts if isinstance(one, PairConfig)]
        if not read:
            return []
        supply = self.open_pairs(read[0])
        count = self.config.samples
        seen = sum(one.share * one.pairs_of(0, count)[1] for one in read)
        documents, tokens = supply.supply()
        (source,) = self.record.sources
        share = sum(one.share for one in read)
        return [
            {
                "source": f"{source}, pairs",
                "language": None,
                "share": share,
                "epochs": seen / len(supply),
                "tokens": round(share * self.config.tokens),
                "supply_documents": documents,
                "supply_tokens": tokens,
                "supply_bytes": None,
            }
        ]


def token_folders(phase: Phase, out: Path) -> dict[str, Path]:
    """The token folder that each source of a phase reads."""
    return {
        name: source.tokens.expanduser() if source.tokens else out / f"pack-{tail}"
        for (name, source), tail in zip(phase.sources.items(), tails(phase), strict=True)
    }


def tails(phase: Phase) -> list[str]:
    """How the names of the folders end that each source of a phase reads: corpus, synthetic, or the
    phase's own name for what is selected."""
    chosen = phase.selection.data if phase.selection else None
    return [
        phase.name if source.tokens is None and source.data == chosen else source.data
        for source in phase.sources.values()
    ]


def phase_inputs(phase: Phase, out: Path) -> PhaseInputs:
    """What a phase of a recipe reads in the run `out`."""
    objective, folders = phase.objective, token_folders(phase, out)
    ends = dict(zip(phase.sources, tails(phase), strict=True))
    labels = objective is not None and bool(objective.reading("labels"))
    pairs = objective is not None and bool(objective.reading("pairs"))
    return PhaseInputs(
        config=phase.training,
        record=PhaseRecord.of(phase),
        run=out,
        tokens=folders,
        labels={n: out / f"identifiers-{tail}" for n, tail in ends.items()} if labels else {},
        pairs=out / f"pairs-{next(iter(ends.values()))}" if pairs else None,
    )


def init_checkpoint(phase: Phase, out: Path, tokenizer: Tokenizer) -> Path | None:
    """The checkpoint folder that a phase of the run `out` begins with; None from nothing.

    Raises FirnlineError where one from elsewhere learnt other ids than `tokenizer` gives.
    """
    if phase.data.init is None:
        return None
    folder = checkpoint_folder(phase.data.init)
    if folder is None:
        return out / f"train-{phase.data.init}" / "checkpoint"
    check_checkpoint(folder, tokenizer)
    return folder

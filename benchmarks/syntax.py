"""What the screen of `firnline.curate.syntax` finds of what full parsing would drop.

    python benchmarks/syntax.py DOCUMENTS [--files N] [--seed N]

DOCUMENTS is a folder of Documents (`firnline ingest`, `benchmarks/gather.py`). For each language N
files (50) without an error are broken in sixteen ways; each result is parsed in full, and the share
of those beyond the rule's threshold that the screen had suspected is printed, by kind and by
language. The last line is JSON. About a minute for 50 files a language.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from firnline.curate import rules, syntax

SCREENED = [language for language in syntax.USUAL if language != "SQL"]
STRANGERS = ("Text", "HTML", "JSON", "Markdown", "XML", "YAML")
SIZES = (400, 20_000)

Rng = random.Random
Lines = list[str]


def conflict(lines: Lines, rng: Rng) -> str:
    lines = list(lines)
    for _ in range(2):
        at = rng.randrange(len(lines))
        mine, other = lines[at], rng.choice(lines)
        lines[at : at + 1] = ["<<<<<<< HEAD\n", mine, "=======\n", other, ">>>>>>> other\n"]
    return "".join(lines)


def diff(lines: Lines, rng: Rng) -> str:
    hunks = (f"@@ -{n},7 +{n},7 @@\n" if n % 30 == 0 else "" for n in range(len(lines)))
    changed = (rng.choice("    +-") + line for line in lines)
    body = "".join(hunk + line for hunk, line in zip(hunks, changed, strict=True))
    return "diff --git a/f b/f\n--- a/f\n+++ b/f\n" + body


def tagged(*tags: str) -> Callable[[Lines, Rng], str]:
    def put(lines: Lines, rng: Rng) -> str:
        def tag(word: re.Match[str]) -> str:
            return word[0] if rng.random() > 0.1 else rng.choice(tags).replace("WORD", word[0])

        return re.sub(r"(?m)^ *\w+", tag, "".join(lines))

    return put


def deleted(share: float) -> Callable[[Lines, Rng], str]:
    return lambda lines, rng: "".join(line for line in lines if rng.random() > share)


def noise(lines: Lines, rng: Rng) -> str:
    text = "".join(lines)
    return "".join(c if rng.random() > 0.01 else chr(rng.randint(33, 126)) for c in text)


def cut(lines: Lines, rng: Rng) -> str:
    text = "".join(lines)
    return text[: rng.randint(len(text) // 4, 3 * len(text) // 4)]


BREAKS: dict[str, Callable[[Lines, Rng], str]] = {
    "cut": cut,
    "conflict": conflict,
    "diff": diff,
    "jinja": tagged("{% if a %}WORD{% endif %}", "{{ WORD }}", "{% for x in y %}\nWORD"),
    "erb": tagged("<% if a %>WORD<% end %>", "<%= WORD %>"),
    "deleted 5%": deleted(0.05),
    "deleted 30%": deleted(0.3),
    "shuffled": lambda lines, rng: "".join(rng.sample(lines, len(lines))),
    "noise 1%": noise,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    texts = sample(options.documents, 4 * options.files, rng)
    cases: list[tuple[str, str, str]] = []
    for language in SCREENED:
        given = texts[language]
        shares = syntax.error_shares(large(given), [language] * len(given), every=True)
        good = [text for text, share in zip(given, shares, strict=True) if share == 0]
        others = [name for name in SCREENED if {name, language} not in ALIKE and name != language]
        for text in good[: options.files]:
            cases.append((language, "unbroken", text))
            lines = text.splitlines(keepends=True)
            cases += [(language, kind, way(lines, rng)) for kind, way in BREAKS.items()]
            wrong = [name for name in others if texts[name]]
            cases.append((language, "another language", rng.choice(texts[rng.choice(wrong)])))
            cases += [(language, s, rng.choice(texts[s])) for s in STRANGERS if texts[s]]
    report(cases)


ALIKE = ({"C", "C++"}, {"JavaScript", "TypeScript"})


def sample(folder: Path, count: int, rng: Rng) -> dict[str, Lines]:
    """For each language `count` texts of SIZES, or as many as there are; a fair sample."""
    kept: dict[str, Lines] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    wanted = {*SCREENED, *STRANGERS}
    table = ds.dataset(folder / "data", format="parquet")
    for batch in table.to_batches(columns=["language", "content"]):
        for language, content in zip(batch["language"], batch["content"], strict=True):
            name, text = language.as_py(), content.as_py()
            if name not in wanted or not SIZES[0] < len(text) < SIZES[1]:
                continue
            seen[name] += 1
            if len(kept[name]) < count:
                kept[name].append(text)
            elif (place := rng.randrange(seen[name])) < count:
                kept[name][place] = text
    return kept


def large(texts: Lines) -> pa.Array:
    return pa.array(texts, pa.large_string())


def report(cases: list[tuple[str, str, str]]) -> None:
    languages = [language for language, _, _ in cases]
    content = large([text for _, _, text in cases])
    full = syntax.error_shares(content, languages, every=True)
    screened = ~np.isnan(syntax.error_shares(content, languages))
    rule = rules.RULES[-1]
    bad = full > np.array([rule.threshold(language) for language in languages])
    broken = np.array([kind != "unbroken" for _, kind, _ in cases])
    kinds = np.array([kind for _, kind, _ in cases])
    names = np.array(languages)
    print(f"{'':18}{'cases':>7}{'dropped':>9}{'found':>7}")
    for label, column, chosen in (("kind", kinds, True), ("language", names, broken)):
        for name in dict.fromkeys(column.tolist()):
            these = (column == name) & chosen
            dropped = these & bad
            found = f"{screened[dropped].mean():.0%}" if dropped.any() else "-"
            print(f"{name:18}{these.sum():7}{dropped.sum():9}{found:>7}  {label}")
    figures = {
        "cases": int(broken.sum()),
        "dropped": int((bad & broken).sum()),
        "found": round(float(screened[bad & broken].mean()), 4),
        "unbroken_suspected": round(float(screened[~broken].mean()), 4),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

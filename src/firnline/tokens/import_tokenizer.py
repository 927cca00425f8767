"""Takes over the tokenizer of a public model: ids kept, control tokens and their roles found.

Four kinds of source: a Hugging Face `tokenizer.json`, the older `vocab.json` and `merges.txt`, a
rank file of tiktoken, and a SentencePiece `.model`. What comes out is a tokenizer folder like any
other.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from firnline.documents import atomic_path
from firnline.errors import FirnlineError
from firnline.stage import StageResult, Stats, Workspace, run_stage
from firnline.tokens.roles import (
    END_OF_TEXT_NAMES,
    Role,
    Roles,
    find_roles,
    is_control_name,
)
from firnline.tokens.sentencepiece_model import is_sentencepiece, read_model
from firnline.tokens.spelling import check_kind, to_json
from firnline.tokens.tiktoken_ranks import (
    ENCODINGS,
    PUBLISHED,
    Encoding,
    Split,
    bpe_settings,
    read_ranks,
    to_settings,
)
from firnline.tokens.tokenizer import Tokenizer

_BESIDE = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")
# The words of `vocab.json` and `merges.txt` are cut by code that `tokenizer_class` names.
_SPLIT_OF_CLASS: Mapping[str, Split] = {
    "GPT2Tokenizer": "gpt2",
    "GPT2TokenizerFast": "gpt2",
    "CodeGenTokenizer": "gpt2",
    "RobertaTokenizer": "gpt2",
    "Qwen2Tokenizer": "qwen2",
    "Qwen2TokenizerFast": "qwen2",
}


class ImportConfig(BaseModel):
    """Settings of the `import-tokenizer` stage: what the files do not say."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    encoding: Encoding | None = None
    """How text is cut into words, where the source does not say, and which control tokens a rank
    file has; a rank file's own name may say it."""
    special_tokens: dict[str, int] = {}
    """Control tokens that the files lack, with the ids that they have in the model; for a rank
    file, in place of those that its encoding has."""
    control: tuple[str, ...] = ()
    """Added tokens that the file takes for text and that content must not make."""
    roles: Roles = {}
    """Which token ends a document, opens each part of infilling, and pads, where names or
    `tokenizer_config.json` do not say it."""


class _Source(NamedTuple):
    settings: dict[str, Any]
    named: Mapping[str, Any]  # tokenizer_config.json or special_tokens_map.json


def run(config: ImportConfig, source: Path, out: Path) -> StageResult:
    """Writes `out/tokenizer.json` from a folder or a file of another model's tokenizer.

    Statistics: entries, control tokens, the token of each role, how bytes are spelled, whether
    gigatoken encodes (`fast`) and whether text comes back byte for byte (`exact`: a normalizer
    changes some).

    Raises FirnlineError where there is no such tokenizer, where it is no BPE over bytes, where
    ids clash, or where no token ends a document.
    """

    def body(workspace: Workspace) -> Stats:
        found = _read(config, source)
        settings = _with_control(config, found, source)
        with atomic_path(workspace.folder / "tokenizer.json") as temporary:
            temporary.write_text(to_json(settings), encoding="utf-8")
        try:
            tokenizer = Tokenizer.load(workspace.folder)
        except FirnlineError as error:
            work = str(workspace.folder / "tokenizer.json")
            raise FirnlineError(error.what.replace(work, str(source)), mend=error.mend) from error
        return describe(tokenizer)

    inputs: dict[str, Path | str] = {"source": source}
    if source.is_file():
        beside = (source.with_name(name) for name in _BESIDE)
        inputs |= {path.name: path for path in beside if path.is_file()}
    return run_stage("import-tokenizer", config, inputs, out, body, room="tokens")


def describe(tokenizer: Tokenizer) -> Stats:
    """What a tokenizer is: the statistics of an import and of an extension."""
    names = {number: content for content, number in tokenizer.special.items()}
    return {
        "vocabulary_size": tokenizer.vocabulary_size,
        "tokenizer": tokenizer.digest,
        "spelling": tokenizer.spelling,
        "control_tokens": len(tokenizer.special),
        "roles": {role: names[number] for role, number in tokenizer.roles.items()},
        "fast": tokenizer.fast,
        "exact": all(tokenizer.decode(tokenizer.encode(text)) == text for text in tokenizer.probes),
    }


def _read(config: ImportConfig, source: Path) -> _Source:
    """The settings of whichever kind lies there, without what `config` adds."""
    folder = source if source.is_dir() else source.parent
    named = _object(folder / "special_tokens_map.json")
    named |= _object(folder / "tokenizer_config.json")
    file = source
    if source.is_dir():
        names = ("tokenizer.json", "vocab.json", "*.tiktoken", "tokenizer.model")
        files = [path for name in names for path in sorted(source.glob(name))]
        if not files:
            raise FirnlineError(
                f"no tokenizer in {source}: none of {', '.join(names)}", mend="check the folder"
            )
        file = files[0]
    if file.name == "vocab.json":
        return _Source(_legacy(config, file, named), named)
    if file.suffix == ".json":
        return _Source(_hugging_face(config, file), named)
    if is_sentencepiece(_start(file)):
        return _Source(_sentencepiece(config, file, named), named)
    return _Source(_tiktoken(config, file), named)


def _hugging_face(config: ImportConfig, file: Path) -> dict[str, Any]:
    settings = _object(file, required=True)
    try:
        check_kind(settings, file)
        added = [{**token, "id": int(token["id"])} for token in settings["added_tokens"] or []]
        _ = [token["content"] + "" for token in added]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FirnlineError(
            f"{file} is not a Hugging Face tokenizer", mend="give tokenizer.json, or its folder"
        ) from error
    _check_no_encoding(config, file)
    return settings | {"added_tokens": added}


def _check_no_encoding(config: ImportConfig, file: Path) -> None:
    if config.encoding is not None:
        raise FirnlineError(
            f"encoding is {config.encoding}, {file} says itself how text is cut",
            mend="leave out encoding",
        )


def _start(file: Path) -> bytes:
    """The first byte of a file; none where it cannot be read, which its reader says."""
    try:
        with file.open("rb") as opened:
            return opened.read(1)
    except OSError:
        return b""


def _sentencepiece(config: ImportConfig, file: Path, named: Mapping[str, Any]) -> dict[str, Any]:
    _check_no_encoding(config, file)
    settings = read_model(file)
    check_kind(settings, file)
    entries = {entry["content"]: entry for entry in settings["added_tokens"]}
    return settings | {"added_tokens": _with_listed(entries, file, named, {})}


def _legacy(config: ImportConfig, file: Path, named: Mapping[str, Any]) -> dict[str, Any]:
    """`vocab.json` with `merges.txt` beside it, and what says which of its tokens are added."""
    vocabulary = _object(file, required=True)
    merges_file = file.with_name("merges.txt")
    try:
        lines = merges_file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FirnlineError(
            f"cannot read {merges_file}", mend="it belongs beside vocab.json"
        ) from error
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if bad := next((merge for merge in merges if len(merge) != 2), None):
        raise FirnlineError(
            f"{merges_file}: {' '.join(bad)!r} is no pair of tokens", mend="fetch the file again"
        )
    kind = named.get("tokenizer_class")
    if config.encoding is not None:
        split = PUBLISHED[config.encoding].split
    elif kind is None or kind in _SPLIT_OF_CLASS:
        split = _SPLIT_OF_CLASS[kind] if kind else "gpt2"  # the format's first, and its default
    else:
        raise FirnlineError(
            f"{file}: how {kind} cuts text into words is not known",
            mend=f"give its tokenizer.json, or encoding, one of {', '.join(ENCODINGS)}",
        )
    settings = bpe_settings(vocabulary, merges, split)
    own = {token: number for token, number in vocabulary.items() if _is_named(token, named)}
    settings["added_tokens"] = _with_listed({}, file, named, own)
    return settings


def _with_listed(
    entries: dict[str, dict[str, Any]], file: Path, named: Mapping[str, Any], more: dict[str, int]
) -> list[dict[str, Any]]:
    """Added tokens: `entries`, those that the files beside `file` list, and `more`."""
    for number, entry in (named.get("added_tokens_decoder") or {}).items():
        known = entries.setdefault(entry["content"], _added(entry["content"], int(number), entry))
        known["special"] |= bool(entry.get("special"))
    listed = _object(file.with_name("added_tokens.json")) | more
    for content, number in listed.items():
        entries.setdefault(content, _added(content, int(number), {"special": True}))
    return sorted(entries.values(), key=lambda entry: entry["id"])


def _tiktoken(config: ImportConfig, file: Path) -> dict[str, Any]:
    encoding = config.encoding or next((e for e in ENCODINGS if file.stem == e), None)
    ranks = read_ranks(file)
    if encoding is None:
        raise FirnlineError(
            f"{file} does not say how text is cut into words",
            mend=f"give encoding, one of {', '.join(ENCODINGS)}",
        )
    published = PUBLISHED[encoding]
    settings = to_settings(ranks, published.split)
    if config.special_tokens or not published.special:
        return settings
    first, largest = min(published.special.values()), max(ranks.values())
    if not set(published.special.values()).isdisjoint(ranks.values()) or first > largest + 2:
        raise FirnlineError(
            f"{file} has ranks up to {largest:,}, which is not {encoding}: its control tokens "
            f"begin at {first:,}",
            mend="give the encoding that it is of, or special_tokens with their ids",
        )
    settings["added_tokens"] = [
        _added(content, number, {"special": True}) for content, number in published.special.items()
    ]
    return settings


def _with_control(config: ImportConfig, found: _Source, source: Path) -> dict[str, Any]:
    """The settings with every control token among the added ones, its role written beside it."""
    added = {token["content"]: dict(token) for token in found.settings["added_tokens"]}
    taken = {number: content for content, number in found.settings["model"]["vocab"].items()}
    taken |= {token["id"]: content for content, token in added.items()}
    ids = {content: number for number, content in taken.items()}
    for content, number in config.special_tokens.items():
        holder, known = taken.get(number, content), ids.get(content, number)
        if holder != content or known != number:
            has = f"{number} is {holder!r}" if holder != content else f"it has id {known}"
            raise FirnlineError(
                f"special_tokens: {content!r} has id {number}; in {source} {has}",
                mend="give the ids that the model was trained with",
            )
        added.setdefault(content, _added(content, number, {}))["special"] = True
    for content in (*config.control, *config.roles.values()):
        if content not in added:
            raise FirnlineError(
                f"{source} has no added token {content!r}",
                mend="add it first, or give its id in special_tokens",
            )
    for content in config.control:
        added[content]["special"] = True
    claimed = set(config.roles.values())
    by_name = _roles(list(added.values()), found.named)
    roles = {role: token for role, token in by_name.items() if token not in claimed} | config.roles
    for token in added.values():
        token.pop("role", None)
    for role, content in roles.items():
        added[content]["role"] = role
    entries = sorted(added.values(), key=lambda token: token["id"])
    for one, other in itertools.pairwise(entries):
        if one["id"] == other["id"]:
            raise FirnlineError(
                f"{source} gives id {one['id']} to {one['content']!r} and {other['content']!r}",
                mend="fetch the file again, or take one of them out",
            )
    # tokenizers numbers an added token anew unless the vocabulary holds it.
    vocabulary = found.settings["model"]["vocab"]
    for token in entries:
        known = vocabulary.setdefault(token["content"], token["id"])
        if known != token["id"]:
            raise FirnlineError(
                f"{source} gives {token['content']!r} the ids {known} and {token['id']}",
                mend="fetch the file again, or take one of them out",
            )
    return found.settings | {"added_tokens": entries}


def _roles(added: list[dict[str, Any]], named: Mapping[str, Any]) -> dict[Role, str]:
    """Roles by name; the files' own `eos_token` and `pad_token` count where names leave it open.

    `eos_token` of a chat model ends a turn, so a name that ends documents goes before it.
    """
    roles = find_roles(added)
    contents = {token["content"] for token in added}
    endings = contents & set(END_OF_TEXT_NAMES)
    eos, pad = _content(named.get("eos_token")), _content(named.get("pad_token"))
    stated = any(token.get("role") == "end_of_text" for token in added)
    if eos in contents and not stated and (eos in endings or not endings):
        roles["end_of_text"] = eos
    if pad in contents and "pad" not in roles and pad != roles.get("end_of_text"):
        roles["pad"] = pad
    return roles


def _added(content: str, number: int, flags: Mapping[str, Any]) -> dict[str, Any]:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": number, "content": content} | {name: bool(flags.get(name)) for name in names}


def _is_named(token: str, named: Mapping[str, Any]) -> bool:
    """Whether an entry of `vocab.json` is a control token: by its name, or by the files'."""
    given = {_content(value) for name, value in named.items() if name.endswith("_token")}
    return token in given or is_control_name(token)


def _content(token: Any) -> str:
    value = token.get("content") if isinstance(token, dict) else token
    return value if isinstance(value, str) else ""


def _object(path: Path, *, required: bool = False) -> dict[str, Any]:
    """A JSON object; empty where the file is absent and not required."""
    if not required and not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise FirnlineError(f"cannot read {path}", mend="fetch the file again") from error
    return value

"""Finding and redacting secrets: planted ones in published formats, decoys, and real parsers."""

from __future__ import annotations

import ast
import base64
import importlib.util
import json
import math
import pickle
import random
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firnline.curate.evidence import entropy
from firnline.curate.redaction import Redactor, SecretsConfig
from firnline.errors import FirnlineError

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "redaction.py"
_SPEC = importlib.util.spec_from_file_location("firnline_benchmark_redaction", _PATH)
assert _SPEC and _SPEC.loader
planted = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = planted
_SPEC.loader.exec_module(planted)

GITHUB = planted.github(random.Random(5))
EMAIL = "jo.doering@steinway-parts.de"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(SecretsConfig())


def redact(redactor: Redactor, text: str) -> str:
    return str(redactor.redact(pa.array([text], pa.large_string())).content[0].as_py())


def test_planted_secrets_of_every_kind_go(redactor: Redactor) -> None:
    files = ["import os\n\n\ndef f(x):\n    return x\n", "#include <a.h>\n", "a: 1\n" * 50]
    cases = planted.plant(random.Random(7), 12)
    score = planted.recall(redactor, cases, files)
    assert {kind: pair for kind, pair in score.items() if pair[0] < pair[1] - 1} == {}
    assert sum(pair[0] for pair in score.values()) >= 0.995 * len(cases)


def test_decoys_stay(redactor: Redactor) -> None:
    decoys = pa.array(planted.DECOYS, pa.large_string())
    out = redactor.redact(decoys)
    assert out.redactions.null_count == len(decoys), out.redactions.drop_null()
    assert out.content.equals(decoys)
    assert out.counts == {}
    assert not out.changed.any()


def test_lines_stay_and_nothing_else_goes(redactor: Redactor) -> None:
    for case in planted.plant(random.Random(3), 6):
        out = redact(redactor, case.text)
        assert out.count("\n") == case.text.count("\n")
        if case.kind != "private_key" and case.secrets[0] not in out:
            before, after = case.text.split(case.secrets[0])
            assert out.startswith(before)
            assert out.endswith(after)
            assert out[len(before) : len(out) - len(after)].startswith("<")


def test_a_second_redaction_changes_nothing(redactor: Redactor) -> None:
    texts = pa.array([case.text for case in planted.plant(random.Random(9), 8)], pa.large_string())
    once = redactor.redact(texts)
    twice = redactor.redact(once.content)
    assert twice.content.equals(once.content)
    assert not twice.changed.any()
    assert twice.redactions.null_count == len(texts)


PIECES = st.one_of(
    st.sampled_from([case.text for case in planted.plant(random.Random(1), 2)]),
    st.sampled_from(planted.DECOYS),
    st.text(max_size=12),
    st.sampled_from(["\n", '"', "'", "@", "://u:", "=", "é", "密码", "password: ", "<KEY>", "\0"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(PIECES, max_size=6).map("".join)), max_size=5))
def test_any_batch_is_redacted_row_by_row(rows: list[str | None]) -> None:
    redactor = REDACTOR
    batch = pa.array(rows, pa.large_string())
    out = redactor.redact(batch)
    out.content.validate(full=True)
    assert out.content.is_valid().equals(batch.is_valid())
    assert redactor.redact(out.content).content.equals(out.content)
    for row, text in enumerate(rows):
        alone = redactor.redact(batch.slice(row, 1))
        assert alone.content[0] == out.content[row]
        assert alone.redactions[0] == out.redactions[row]
        changed = text is not None and out.content[row].as_py() != text
        assert bool(out.changed[row]) == changed
        assert sum(int(column[row]) for column in out.counts.values()) >= int(changed)
        if text is not None:
            assert out.content[row].as_py().count("\n") == text.count("\n")


REDACTOR = Redactor(SecretsConfig())


def test_slices_types_and_nulls(redactor: Redactor) -> None:
    rows = ["x" * 9, f"mail {EMAIL}", None, "", f"{EMAIL}\n{EMAIL}", "y"]
    whole = pa.array(rows, pa.string())
    out = redactor.redact(whole.slice(1, 4))
    assert out.content.type == pa.string()
    assert out.content.to_pylist() == ["mail <EMAIL>", None, "", "<EMAIL>\n<EMAIL>"]
    assert out.counts["email"].tolist() == [1, 0, 0, 2]
    assert out.changed.tolist() == [True, False, False, True]
    assert redactor.redact(pa.array([], pa.large_string())).content.to_pylist() == []
    assert redactor.redact(pa.array([None], pa.large_string())).content.to_pylist() == [None]


def test_code_still_parses(redactor: Redactor) -> None:
    rng = random.Random(2)
    key, _ = planted.pem(random.Random(11), "RSA PRIVATE KEY", cut=False)
    program = (
        f"KEYS = {{'a': {GITHUB!r}, \"b\": b'{planted.TOKENS['stripe_key'](rng)}'}}\n"
        f"PEM = {key!r}\nMAIL = f'<{EMAIL}>'\nHOST = '81.2.69.160'\npassword = 'hJ7#kd9Lm'\n"
        f"PAIR = ({planted.TOKENS['aws_key'](rng)!r} '{planted.TOKENS['jwt'](rng)}')\n"
    )
    out = redact(redactor, program)
    assert ast.dump(ast.parse(program)).count("Constant") == ast.dump(ast.parse(out)).count(
        "Constant"
    )
    assert (out.count("<KEY>"), out.count("<EMAIL>"), out.count("<IP_ADDRESS>")) == (5, 1, 1)
    table = {"user": EMAIL, "token": GITHUB, "password": "hJ7#kd9Lm", "pem": key, "n": [1, 2]}
    assert json.loads(redact(redactor, json.dumps(table))).keys() == table.keys()


def test_the_ledger_tells_kinds_and_lines_only(redactor: Redactor) -> None:
    text = f"# {EMAIL}\nkey = '{GITHUB}'\n# {EMAIL}\n"
    out = redactor.redact(pa.array([text], pa.large_string()))
    assert out.redactions.to_pylist() == ["email 2 (lines 1, 3), github_token 1 (line 2)"]
    many = redactor.redact(pa.array([f"{EMAIL}\n" * 9], pa.large_string()))
    assert many.redactions.to_pylist() == ["email 9 (lines 1, 2, 3, 4, 5, …)"]
    for case in planted.plant(random.Random(4), 4):
        told = redactor.redact(pa.array([case.text], pa.large_string())).redactions[0].as_py() or ""
        assert not any(part in told for part in case.secrets)


def test_the_most_telling_kind_wins(redactor: Redactor) -> None:
    def kinds(text: str) -> set[str]:
        return set(redactor.redact(pa.array([text], pa.large_string())).counts)

    assert kinds(f'api_token = "{GITHUB}"') == {"github_token"}
    assert kinds("postgres://app:x8Kd92ls7@db.steinway-parts.de/a") == {"url_password"}
    nested = """token = "client_secret='k3j4h5g6f7d8s9a0q1w2'" """
    assert redact(redactor, nested) == """token = "client_secret='<KEY>'" """
    out = redact(redactor, "amqp://app:x8Kd92ls7@81.2.69.160:5672")
    assert out == "amqp://app:<PASSWORD>@<IP_ADDRESS>:5672"


@pytest.mark.parametrize("kind", planted.BLOCKS)
def test_a_key_block_cut_short_takes_no_code_with_it(redactor: Redactor, kind: str) -> None:
    body = planted.of(planted.ALNUM, 64 * 8 + 13)(random.Random(6))
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    code = "\nfunction configurationForEnvironment(e) {\n    return applicationContextManager;\n}\n"
    out = redact(redactor, f"-----BEGIN {kind}-----\n" + "\n".join(lines) + "\n" + code)
    assert out == f"-----BEGIN {kind}-----\n<KEY>" + "\n" * len(lines) + code


def test_other_key_files(redactor: Redactor) -> None:
    body = planted.of(planted.ALNUM, 64 * 4)(random.Random(8))
    lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    public = "AAAAB3NzaC1yc2EAAAABJQAAAIEA"
    putty = (
        f"PuTTY-User-Key-File-3: ssh-rsa\nPublic-Lines: 1\n{public}\n"
        f"Private-Lines: 4\n{lines}\nPrivate-MAC: 0a1b2c3d\n"
    )
    out = redact(redactor, putty)
    assert public in out
    assert "Private-Lines: 4\n<KEY>\n\n\n\nPrivate-MAC: 0a1b2c3d" in out
    pgp = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{lines}\n=aB3/\n"
    assert redact(redactor, pgp).startswith(
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n<KEY>\n\n\n\n\n"
    )
    prime = planted.of(planted.ALNUM, 60)(random.Random(1)) + "=="
    rsa = f"<RSAKeyValue><Modulus>{prime}</Modulus><P>{prime}</P><DP>{prime}</DP></RSAKeyValue>"
    assert redact(redactor, rsa).count("<KEY>") == 2
    dsa = f"<DSAKeyValue><P>{prime}</P><Q>{prime}</Q></DSAKeyValue>"
    assert redact(redactor, dsa) == dsa


def test_addresses_that_are_nobodys_and_somebodys(redactor: Redactor) -> None:
    assert redact(redactor, f"写信给{EMAIL}。") == "写信给<EMAIL>。"
    assert redact(redactor, "müller@straße.de, x") == "<EMAIL>, x"
    assert redact(redactor, "ssh root@81.2.69.160 -p 22") == "ssh root@<IP_ADDRESS> -p 22"
    assert redact(redactor, "[2a02:26f0:1234::17]:80") == "[<IP_ADDRESS>]:80"
    assert redact(redactor, f"Author:{EMAIL}:42 lines") == "Author:<EMAIL>:42 lines"
    assert redact(redactor, "mailto:list@www.gnu.org") == "mailto:<EMAIL>"
    assert redact(redactor, f"mailto:{EMAIL}, 80") == "mailto:<EMAIL>, 80"
    assert redact(redactor, 'set_password("x8Kd92+ls7")') == 'set_password("<PASSWORD>")'
    for text in (
        "User:Pass@www.python.org:080",
        "splitpasswd('us+1:a+b')",
    ):
        assert redact(redactor, text) == text
    for text in ("Version 81.2.69.160", "app-81.2.69.160.jar", "81.2.69.160.5", "2a02:26f0:1234::"):
        assert redact(redactor, text) == text


WORD = "Xk29plQzR7"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        # POD writes <jo@...> as E<lt>jo@...E<gt>: the E is no part of the domain
        ("Jo E<lt>jo@steinway-parts.deE<gt>", "Jo E<lt><EMAIL>E<gt>"),
        # the letter after a backslash is the escape's
        (r'"a\njo@steinway-parts.de"', r'"a\n<EMAIL>"'),
        (r'"a\nAKIAR4J7VQ2TNWZ5KD3M"', r'"a\n<KEY>"'),
        # an address after a URL on the same line is one; a message's in a URL is not
        ("http://x.de mailto:jo@steinway-parts.de", "http://x.de mailto:<EMAIL>"),
        ("https://lore.kernel.org/git/1@mail.de/", "https://lore.kernel.org/git/1@mail.de/"),
        (f'let password: &\'static str = "{WORD}";', 'let password: &\'static str = "<PASSWORD>";'),
        (f'#define WIFI_PASSWORD  "{WORD}"', '#define WIFI_PASSWORD  "<PASSWORD>"'),
        (f'#define PASSWORD_URL "{WORD}"', f'#define PASSWORD_URL "{WORD}"'),
        (f'<add key="Db.Password" value="{WORD}"/>', '<add key="Db.Password" value="<PASSWORD>"/>'),
        (f"ENV DB_PASSWORD {WORD}\n", "ENV DB_PASSWORD <PASSWORD>\n"),
        (f"CREATE USER jo IDENTIFIED BY '{WORD}';", "CREATE USER jo IDENTIFIED BY '<PASSWORD>';"),
        (f"ALTER ROLE jo WITH PASSWORD '{WORD}';", "ALTER ROLE jo WITH PASSWORD '<PASSWORD>';"),
        (f"machine h login jo password {WORD}", "machine h login jo password <PASSWORD>"),
        (f"curl -s -u jo:{WORD} https://h", "curl -s -u jo:<PASSWORD> https://h"),
        ("curl -u $USER:$PASSWORD https://h", "curl -u $USER:$PASSWORD https://h"),
        (f"sshpass -p {WORD} ssh h", "sshpass -p <PASSWORD> ssh h"),
        (
            '{"auth": "' + base64.b64encode(f"jo:{WORD}".encode()).decode() + '"}',
            '{"auth": "<KEY>"}',
        ),
    ],
)
def test_the_ways_of_many_languages_and_tools(redactor: Redactor, text: str, redacted: str) -> None:
    assert redact(redactor, text) == redacted


def test_a_key_file_in_base64_goes_and_a_certificate_stays(redactor: Redactor) -> None:
    body = base64.b64encode(random.Random(3).randbytes(600)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    for name, gone in (("RSA PRIVATE KEY", True), ("PRIVATE KEY", True), ("CERTIFICATE", False)):
        pem = f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----\n"
        whole = base64.b64encode(pem.encode()).decode()
        text = f"data:\n  tls.key: {whole}\n  other: value\n"
        expected = "data:\n  tls.key: <KEY>\n  other: value\n" if gone else text
        assert redact(redactor, text) == expected


def test_huge_lines_and_bytes_like_text(redactor: Redactor) -> None:
    filler = "var a=function(b){return b+1};" * 100_000
    out = redact(redactor, f"{filler}k='{GITHUB}';{filler}")
    assert out == f"{filler}k='<KEY>';{filler}"
    noise = random.Random(0).randbytes(300_000).decode("latin-1")
    assert redact(redactor, noise + f"\n{EMAIL}\n").endswith("\n<EMAIL>\n")
    token = planted.TOKENS["jwt"](random.Random(1)) + "x" * 20_000  # longer than any window
    assert redact(redactor, f"t = '{token}'") == "t = '<KEY>'"
    many = "\n".join(planted.jwt(random.Random(seed)) for seed in range(500))
    assert redact(redactor, f"{many}\n{token}") == "<KEY>\n" * 500 + "<KEY>"
    repeated = f"{EMAIL} " * 5000
    assert redact(redactor, repeated) == "<EMAIL> " * 5000


def test_config_says_what_counts_and_what_becomes_of_it() -> None:
    text = pa.array([f"{EMAIL} '{GITHUB}' /home/marta/x TICKET-4711"], pa.large_string())

    def run(**settings: object) -> str:
        return str(Redactor(SecretsConfig(**settings)).redact(text).content[0].as_py())

    assert run(off=("email", "username")) == f"{EMAIL} '<KEY>' /home/marta/x TICKET-4711"
    assert run(off=("github_token",)) == f"<EMAIL> '{GITHUB}' /home/<NAME>/x TICKET-4711"
    assert run(allow=("*@steinway-parts.de", GITHUB)) == text[0].as_py()
    assert run(placeholders={"email": "[MAIL]"}).startswith("[MAIL] '<KEY>'")
    own = [{"kind": "ticket", "regex": r"TICKET-([0-9]+)"}]
    assert run(patterns=own, placeholders={"ticket": "#"}).endswith("TICKET-#")
    for action in ("measure", "drop"):
        out = Redactor(SecretsConfig(action=action)).redact(text)
        assert out.content.equals(text)
        assert not out.changed.any()
        assert out.redactions[0].as_py() == "email 1 (line 1), github_token 1 (line 1)"


def test_pickled_redactor_does_the_same(redactor: Redactor) -> None:
    copy = pickle.loads(pickle.dumps(redactor))
    texts = pa.array([case.text for case in planted.plant(random.Random(2), 2)], pa.large_string())
    assert copy.redact(texts).content.equals(redactor.redact(texts).content)


def test_mistakes_are_told() -> None:
    with pytest.raises(ValidationError, match="no such kind: emial"):
        SecretsConfig(off=("emial",))
    with pytest.raises(ValidationError, match="built-in kinds"):
        SecretsConfig(patterns=[{"kind": "email", "regex": "x"}])
    with pytest.raises(ValidationError, match="placeholder is 1 to 64"):
        SecretsConfig(placeholders={"email": 'a "b"'})
    own = [{"kind": "one", "regex": "(?<=a)b"}, {"kind": "two", "regex": "(c"}]
    with pytest.raises(FirnlineError) as caught:
        Redactor(SecretsConfig(patterns=own))
    assert [line.split(":")[0] for line in caught.value.details] == ["one", "two"]


def test_no_pattern_hangs() -> None:
    redactor = Redactor(SecretsConfig(patterns=[{"kind": "slow", "regex": r"((a+)+)+\$"}]))
    assert redact(redactor, "a" * 60_000) == "a" * 60_000


RULES = """
title = "ours"
[[allowlists]]
stopwords = ["public"]
[[rules]]
id = "acme-key"
regex = \'\'\'(?i)acme[\\w.-]{0,20}\\s*(?:=|:)\\s*['"]([a-z0-9]{12})['"]\'\'\'
entropy = 3.0
keywords = ["acme"]
[[rules.allowlists]]
regexes = [\'\'\'^abc\'\'\']
[[rules.allowlists]]
regexTarget = "line"
regexes = ["# ok"]
[[rules]]
id = "pair"
regex = \'\'\'PAIR-([0-9]{4})-([0-9]{4})\\z\'\'\'
secretGroup = 2
[[rules]]
id = "only-a-path"
path = "\\\\.pem$"
"""


def test_gitleaks_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    redactor = Redactor(SecretsConfig(rules=path))
    table = {
        "acme_key = 'k3j4h5g6f7d8'": "acme_key = '<KEY>'",
        "acme_key = 'aaaaaaaaaaaa'": None,  # entropy
        "acme_key = 'abch5g6f7d8s'": None,  # the rule's allow list
        "acme_key = 'k3public5g6f'": None,  # the file's stop words
        "acme_key = 'k3j4h5g6f7d8'  # ok": None,  # allowed by its line
        "x PAIR-1234-5678": "x PAIR-1234-<KEY>",
        "x PAIR-1234-5678 y": None,
    }
    for text, expected in table.items():
        assert redact(redactor, text) == (expected or text)
    kinds = redactor.redact(pa.array(list(table), pa.large_string())).counts
    assert set(kinds) == {"acme_key", "pair"}
    assert Redactor(SecretsConfig(rules=path, off=("acme_key",)))
    with pytest.raises(FirnlineError, match="no such kind of secret: acme_kee"):
        Redactor(SecretsConfig(rules=path, off=("acme_kee",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "cannot read rules"),
        ("title = 'x'", "has no"),
        ("[extend]\nuseDefault = true", "extend"),
        ("[[rules]]\nid = 'a'\nregex = '(?=b)'", "rule a"),
        ("[[rules]]\nid = 'a'\nregex = 'b'\nsecretGroup = 1", "secretGroup"),
        ("[[rules]]\nid = 'a'\nregex = 'b'\nkeywords = 'k'", "list of texts"),
        ("[[rules]]\nregex = 'b'", "rule 1"),
        ("[[rules]]\nid = 'a'\nregex = 'b'\nentropy = 'high'", "entropy"),
    ],
)
def test_gitleaks_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(FirnlineError, match=message):
        Redactor(SecretsConfig(rules=path))
    with pytest.raises(FirnlineError, match="cannot read rules"):
        Redactor(SecretsConfig(rules=tmp_path / "none.toml"))


def test_entropy_has_closed_forms() -> None:
    assert entropy(b"") == 0.0
    assert entropy(b"aaaa") == 0.0
    assert entropy(b"abcd") == 2.0
    assert math.isclose(entropy(bytes(range(256))), 8.0)

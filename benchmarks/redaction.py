"""Redaction of secrets: recall on planted ones, false alarms on decoys, speed, beside a peer.

    python benchmarks/redaction.py [--quick] [--corpus FOLDER] [--hits FILE]

- Planted: secrets of every kind in the formats that the providers publish, made here from a seed
  (GitHub's with their checksum), each in a line of code of one of several languages, inside real
  files, at their start, end and middle. `recall` is the share of which no part is left.
- Decoys: what looks like a secret and is none. `false_alarms` is the share of decoys hit;
  `precision` is hits on planted lines over all hits on planted and decoy lines.
- Speed: CPU seconds over content bytes, one core, the best of three after one warm-up, on real code
  (a folder of Documents, or the Python installation); redaction whole, content column to content
  column. `vs_detect_secrets` is the ratio to detect-secrets 1.5 with all its plugins at their
  defaults, its line scanner on the same documents (a sample of them, as it is slow), and
  `peer_recall`, `peer_false_alarms`, `peer_precision` are its figures on the same lines.

`--hits FILE` writes every finding in the real code, with its line around it, for reading. Such a
file holds secrets: keep it to yourself.

The last line is a JSON object; a peer that is not installed has null figures.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import importlib.util
import json
import random
import string
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from firnline.curate.redaction import Redactor, SecretsConfig
from firnline.documents import document_shards, read_batches

Draw = Callable[[random.Random], str]
LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM = string.ascii_letters + DIGITS
HEX = DIGITS + "abcdef"
URL_SAFE = ALNUM + "_-"
BASE32 = UPPER + "234567"


def of(alphabet: str, count: int) -> Draw:
    return lambda rng: "".join(rng.choices(alphabet, k=count))


def joined(*parts: str | Draw) -> Draw:
    return lambda rng: "".join(part if isinstance(part, str) else part(rng) for part in parts)


def one_of(*draws: Draw) -> Draw:
    return lambda rng: rng.choice(draws)(rng)


def github(rng: random.Random) -> str:
    """30 random characters and their CRC-32 in base 62, six digits: GitHub's since 2021."""
    body = of(ALNUM, 30)(rng)
    rest, digits = binascii.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = (DIGITS + UPPER + LOWER)[digit] + digits
    return f"gh{rng.choice('pousr')}_{body}{digits}"


def jwt(rng: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": of(HEX, 12)(rng), "exp": rng.randrange(1_600_000_000, 1_900_000_000)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{of(URL_SAFE, 43)(rng)}"


TOKENS: dict[str, Draw] = {
    "adafruit_key": joined("aio_", of(ALNUM, 28)),
    "age_key": joined("AGE-SECRET-KEY-1", of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),
    "airtable_token": joined("pat", of(ALNUM, 14), ".", of(HEX, 64)),
    "alibaba_key": joined("LTAI", of(ALNUM, 20)),
    "anthropic_key": joined("sk-ant-api03-", of(URL_SAFE, 93), "AA"),
    "atlassian_token": joined("ATATT3", of(URL_SAFE, 186)),
    "aws_key": joined("AKIA", of(BASE32, 16)),
    "azure_key": joined(of(ALNUM, 3), "8Q~", of(ALNUM + "_~.-", 33), of(ALNUM, 1)),
    "brevo_key": joined("xkeysib-", of(HEX, 64), "-", of(ALNUM, 16)),
    "databricks_token": joined("dapi", of(HEX, 32)),
    "digitalocean_token": joined("dop_v1_", of(HEX, 64)),
    "discord_token": joined("MT", of(ALNUM, 24), ".", of(ALNUM, 6), ".", of(URL_SAFE, 38)),
    "docker_token": joined("dckr_pat_", of(URL_SAFE, 27)),
    "dynatrace_token": joined("dt0c01.", of(BASE32, 24), ".", of(BASE32, 64)),
    "github_token": one_of(github, joined("github_pat_", of(ALNUM, 22), "_", of(ALNUM, 59))),
    "gitlab_token": joined("glpat-", of(URL_SAFE, 20)),
    "google_key": one_of(
        joined("AIza", of(URL_SAFE, 35)),
        joined("GOCSPX-", of(URL_SAFE, 28)),
        joined("ya29.", of(URL_SAFE, 160)),
    ),
    "grafana_token": joined("glsa_", of(ALNUM, 32), "_", of(HEX, 8)),
    "groq_key": joined("gsk_", of(ALNUM, 52)),
    "hashicorp_token": joined("hvs.", of(URL_SAFE, 95)),
    "huggingface_token": joined("hf_", of(string.ascii_letters, 34)),
    "linear_key": joined("lin_api_", of(ALNUM, 40)),
    "mailchimp_key": joined(of(HEX, 32), "-us", of("123456789", 1)),
    "mailgun_key": joined("key-", of(HEX, 32)),
    "newrelic_key": joined("NRAK-", of(UPPER + DIGITS, 27)),
    "notion_token": joined("ntn_", of(DIGITS, 11), of(ALNUM, 35)),
    "npm_token": joined("npm_", of(ALNUM, 36)),
    "openai_key": one_of(
        joined("sk-", of(ALNUM, 20), "T3BlbkFJ", of(ALNUM, 20)),
        joined("sk-proj-", of(URL_SAFE, 74), "T3BlbkFJ", of(URL_SAFE, 74)),
    ),
    "postman_key": joined("PMAK-", of(HEX, 24), "-", of(HEX, 34)),
    "pulumi_token": joined("pul-", of(HEX, 40)),
    "pypi_token": joined("pypi-AgEIcHlwaS5vcmc", of(URL_SAFE, 150)),
    "replicate_token": joined("r8_", of(ALNUM, 37)),
    "rubygems_key": joined("rubygems_", of(HEX, 48)),
    "sendgrid_key": joined("SG.", of(URL_SAFE, 22), ".", of(URL_SAFE, 43)),
    "shopify_token": joined("shpat_", of(HEX, 32)),
    "slack_token": one_of(
        joined("xoxb-", of(DIGITS, 12), "-", of(DIGITS, 13), "-", of(ALNUM, 24)),
        joined("xoxp-", of(DIGITS, 12), "-", of(DIGITS, 12), "-", of(DIGITS, 12), "-", of(HEX, 32)),
    ),
    "square_token": joined("sq0atp-", of(URL_SAFE, 22)),
    "stripe_key": joined("sk_live_", of(ALNUM, 24)),
    "supabase_key": joined("sbp_", of(HEX, 40)),
    "telegram_token": joined(of("123456789", 10), ":AA", of(URL_SAFE, 33)),
    "twilio_key": joined("SK", of(HEX, 32)),
    "xai_key": joined("xai-", of(ALNUM, 80)),
    "jwt": jwt,
}

# One line of code each, `@` where the secret goes: a literal or comment in the language.
TOKEN_LINES = (
    'client = Client("@", timeout=3)',
    "const key = '@';",
    'private static final String KEY = "@";',
    "export SERVICE_KEY=@",
    "  key: @",
    '{"region": "eu", "value": "@", "on": true}',
    "# was @ until May",
    "/* @ */ int main(void) { return 0; }",
    "curl -u @: https://api.service.io/v1/charges",
    'cfg := Config{Key: "@"}',
    'var a=1,b="@",c=function(){return b};',
    "<add key='Service' value='@'/>",
)
PASSWORD = joined(of(LOWER, 3), of(UPPER, 2), of(DIGITS, 2), of("!#%^*", 1), of(LOWER, 2))
RANDOM = one_of(of(HEX, 32), of(HEX, 40), of(ALNUM, 32), of(ALNUM + "+/", 40), of(URL_SAFE, 43))
LINES: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "password": (
        PASSWORD,
        (
            'password = "@"',
            "const dbPassword = '@';",
            '  "password": "@",',
            'conn.setPassword("@");',
            "DB_PASSWD='@'",
            "'password' => '@',",
            "<password>@</password>",
            'Connect("Server=db1;User Id=app;Password=@;Encrypt=true")',
            'String pwd = "@";',
            'passphrase: "@"',
            'self.login(user="app", password="@")',
        ),
    ),
    "secret": (
        RANDOM,
        (
            'api_key = "@"',
            "const clientSecret = '@';",
            '  "access_token": "@",',
            "SECRET_KEY=@",
            'private static final String API_TOKEN = "@";',
            'let apiKey: string = "@";',
            'secret_key_base: "@"',
            "'app_secret' => '@',",
            'os.environ["SERVICE_TOKEN"] = "@"',
            'ENV["ENCRYPTION_KEY"] = "@"',
        ),
    ),
    "aws_secret": (
        of(ALNUM + "+/", 40),
        ("aws_secret_access_key = @", 'AWS_SECRET_ACCESS_KEY="@"', '  awsSecretKey: "@",'),
    ),
    "authorization": (
        RANDOM,
        ("curl -H 'Authorization: Bearer @' https://api.service.io", 'h["Auth"] = "Bearer @";'),
    ),
    "azure_connection": (
        joined(of(ALNUM + "+/", 86), "=="),
        ('s = "DefaultEndpointsProtocol=https;AccountName=app;AccountKey=@;"',),
    ),
    "url_password": (
        joined(of(ALNUM, 6), of(DIGITS, 2), of(LOWER, 4)),
        (
            'engine = create_engine("postgresql://app:@@db.internal.net:5432/app")',
            "REDIS_URL=redis://:@@cache-1.prod.net:6379/0",
            "git clone https://deploy:@@git.service.io/app.git",
            "amqp://worker:@@10.2.3.4/vhost",
        ),
    ),
    "email": (
        joined(
            one_of(
                of(LOWER, 7), joined(of(LOWER, 5), ".", of(LOWER, 6)), joined(of(LOWER, 4), "+x")
            ),
            "@",
            of(LOWER, 8),
            one_of(*(joined(end) for end in (".com", ".org", ".de", ".co.uk", ".ac.jp", ".io"))),
        ),
        (
            "# Author: Jo <@>",
            "// contact @ for help",
            'MAIL_TO = "@"',
            " * Copyright (c) 2020 A. B. (@)",
            '"author": "Jo <@> (https://jo.dev)",',
            "请联系@。",
            "@",
            "mailto:@",
            "<a href='mailto:@'>@</a>",
        ),
    ),
    "ip_address": (
        one_of(
            lambda rng: (
                f"{rng.randrange(45, 99)}.{rng.randrange(32, 250)}.{rng.randrange(250)}."
                f"{rng.randrange(1, 250)}"
            ),
            lambda rng: (
                f"2a0{rng.randrange(1, 9)}:{of(HEX, 3)(rng)}a:{of(HEX, 3)(rng)}b::"
                f"{rng.randrange(1, 9999)}"
            ),
        ),
        (
            'host = "@"',
            "ssh root@HOST  # HOST is @",
            "server @;",
            '"ip": "@",',
            "ping -c 1 @",
            "if (addr == '@') {",
        ),
    ),
}


def pem(rng: random.Random, kind: str, cut: bool) -> tuple[str, list[str]]:
    """A key block of random base64 and the lines of it that must go."""
    text = of(ALNUM + "+/", rng.choice((64, 330, 1600)))(rng)
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    head = [f"-----BEGIN {kind}-----"]
    if kind.startswith("RSA") and rng.random() < 0.3:
        head += [
            "Proc-Type: 4,ENCRYPTED",
            "DEK-Info: AES-128-CBC,0A1B2C3D4E5F60718293A4B5C6D7E8F9",
            "",
        ]
    tail = [] if cut else [f"-----END {kind}-----"]
    style = rng.choice(("plain", "quoted", "escaped", "indented"))
    if style == "plain":
        return "\n".join([*head, *lines, *tail]), lines
    if style == "quoted":
        return " +\n".join(f'    "{line}\\n"' for line in [*head, *lines, *tail]) + ";", lines
    if style == "escaped":
        return 'key = "' + "\\n".join([*head, *lines, *tail]) + '"', lines
    return "\n".join("    " + line for line in [*head, *lines, *tail]), lines


BLOCKS = (
    *("RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY"),
    *("ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
)

# Not secrets, or nobody's: each line holds nothing to redact.
DECOYS: tuple[str, ...] = (
    'version = "1.2.3.4"', "pkg==10.4.2.1", 'AssemblyVersion("4.0.30319.1")', "v2.31.0.7",
    "requires foo >= 81.12.3.4", "lib-81.12.3.4.tar.gz", "OID 1.3.6.1.4.1.311", "2.5.29.15",
    'bind("0.0.0.0", 80)', "127.0.0.1 localhost", "192.168.1.17", "10.20.30.40", "172.16.5.9",
    "203.0.113.77", "198.51.100.2", "2001:db8::42:1", "fe80::1ff:fe23:4567:890a", "::1",
    "nameserver 8.8.8.8", "std::vector<int>::iterator", "12:34:56:78", "aa:bb:cc:dd:ee:ff",
    "git clone git@github.com:org/repo.git", "you@example.org", "user@example.com", "a@b.test",
    "noreply@github.com", "12+bot@users.noreply.github.com", "icon@2x.png", "y = x@w.to(device)",
    "npm i left-pad@1.3.0", "@app.route", "@Override.x", "x = a@b.T", "foo@{domain}.com",
    "name@yourdomain.com", "logo@3x.svg", "docker pull img@sha256:" + "ab12" * 16,
    'password = "password"', 'password = "changeme123"', 'password = os.environ["DB_PASSWORD"]',
    'password: "${DB_PASSWORD}"', "password = '<your password>'", "password = getpass()",
    'passwordField = "password_confirmation"', 'setPassword("***********")', "password: {{ pw1 }}",
    'token = "{{ token }}"', 'api_key = "YOUR_API_KEY_HERE_123"', 'api_key = "xxxxxxxxxxxxxxxx"',
    "token = next(tokens1234567890)", 'secret_name = "projects/p1/secrets/s2/versions/3"',
    'TOKEN_TYPE = "application/x-oauth2-jwt-v1"', 'token_url = "https://a1.b2.c3/oauth2/v4/t0ken"',
    'key = "section_12_part_34"', 'client_secret = config.get("client_secret_v2")',
    'csrf_token = "4f1d2c3b4a5968778695a4b3c2d1e0f1"', 'sort_key = "0a1b2c3d4e5f60718293a4b5"',
    'PublicKeyToken=b77a5c561934e089', 'password_hash = "5f4dcc3b5aa765d61d8327deb882cf99"',
    '"src/token.rs": "5e423a696f80e281c322f37c87577f9fdc28607e9c007e24896a2b12da62",',
    '"integrity": "sha512-' + "aB3d" * 21 + '=="',
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "ghp_" + "x" * 36, "sk_live_" + "0" * 24, "AIza" + "X" * 35, "sk-...", "hf_xxxxx", "glpat-xxx",
    "xoxb-your-token-here-please", "-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----",
    "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----", "eyJ not.a.token",
    "postgres://user:password@localhost/db", "postgres://postgres:postgres@db:5432/app",
    "http://user:pass@example.com/", "mysql://$USER:$PASS@host/db", "ftp://{u}:{p}@{h}/x",
    "https://%s:%s@%s/", "redis://:${REDIS_PASSWORD}@cache:6379", "http://[::1]:8080/a@b",
    "Authorization: Bearer <token>", "Authorization: Bearer ${TOKEN}",
    "Authorization: Basic Zm9vOmJhcg==",
    "uuid = '3f2b8c1a-9d4e-4f60-8a7b-1c2d3e4f5a6b'", "sha256: " + "9f86d081884c7d65" * 4,
    "#define MASK 0x123456789abcdef0", "url(data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA)",
    "AC" + "0f" * 16, "the token is passed to the tokenizer", "import { token } from './tokens2'",
    '"User:Pass@www.python.org:080"',
    "splitpasswd('user+1:a+b')", "parse_password('joe:Bl00m+x')",
    "pass = subprocess.run(['passwd', 'u1'])", "passes1 = 3", 'compass = "n0rth-s0uth"',
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A piece of text, the parts of it that must go, and their kind."""

    kind: str
    text: str
    secrets: tuple[str, ...]


def plant(rng: random.Random, each: int) -> list[Case]:
    """`each` cases of every kind."""
    cases = []
    for kind, draw in TOKENS.items():
        for number in range(each):
            line, secret = TOKEN_LINES[number % len(TOKEN_LINES)], draw(rng)
            cases.append(Case(kind, line.replace("@", secret), (secret,)))
    for kind, (draw, lines) in LINES.items():
        for number in range(each):
            line, secret = lines[number % len(lines)], draw(rng)
            whole = line.replace("@@", secret + "\0").replace("root@HOST", "root\0HOST")
            text = (
                whole.replace("@", secret) if "\0" not in line and kind != "url_password" else whole
            )
            cases.append(Case(kind, text.replace("\0", "@"), (secret,)))
    for number in range(each * 2):
        text, parts = pem(rng, BLOCKS[number % len(BLOCKS)], cut=number % 4 == 3)
        cases.append(Case("private_key", text, tuple(parts)))
    return cases


def real_code(folder: Path | None, limit_bytes: int) -> list[str]:
    """Documents of a folder, spread over its shards, or Python files of this installation."""
    if folder is not None:
        shards = document_shards(folder)
        return [
            text.as_py()
            for shard in shards
            for text in _until(
                (
                    row
                    for batch in read_batches(shard, ("content",), 256)
                    for row in batch["content"]
                ),
                limit_bytes // len(shards),
            )
        ]
    texts: list[str] = []
    size = 0
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        texts.append(text)
        size += len(text)
        if size > limit_bytes:
            break
    return texts


def _until(rows: Iterable[pa.Scalar], limit_bytes: int) -> Iterable[pa.Scalar]:
    size = 0
    for row in rows:
        if (size := size + row.as_buffer().size) > limit_bytes:
            return
        yield row


def recall(redactor: Redactor, cases: list[Case], files: list[str]) -> dict[str, list[int]]:
    """Kind: [found, planted]. A case is found when no part of its secret is left."""
    rng = random.Random(1)
    texts = []
    for case in cases:
        host = rng.choice(files)[:20_000]
        cut = rng.choice((0, len(host), host.find("\n", len(host) // 2) + 1))
        before, after = host[:cut], host[cut:]
        gap = "" if not before or before.endswith("\n") else "\n"
        texts.append(f"{before}{gap}{case.text}" + (f"\n{after}" if after else ""))
    out = redactor.redact(pa.array(texts, pa.large_string())).content.to_pylist()
    score: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case, text in zip(cases, out, strict=True):
        score[case.kind][1] += 1
        score[case.kind][0] += not any(part in text for part in case.secrets if len(part) > 5)
    return dict(score)


def milliseconds(work: Callable[[], object], repeats: int = 3) -> float:
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best * 1e3


def peer() -> Callable[[str], list[str]] | None:
    """detect-secrets with its default plugins and filters over a file: text to secrets."""
    if importlib.util.find_spec("detect_secrets") is None:
        return None
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    def scan(text: str) -> list[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            with default_settings():
                return [each.secret_value or "" for each in scan_file(file.name)]

    return scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--hits", type=Path)
    options = parser.parse_args()
    files = real_code(options.corpus, 8_000_000 if options.quick else 100_000_000)
    content = pa.array(files, pa.large_string())
    size_mb = sum(len(text.encode()) for text in files) / 1e6
    redactor = Redactor(SecretsConfig())

    cases = plant(random.Random(0), 12 if options.quick else 48)
    score = recall(redactor, cases, files)
    for kind, (found, planted) in sorted(score.items()):
        print(f"{kind:20} {found:4} of {planted:4}")
    found, planted = (sum(pair[side] for pair in score.values()) for side in (0, 1))
    decoys = redactor.redact(pa.array(DECOYS, pa.large_string()))
    alarms = decoys.redactions.to_pylist()
    for decoy, told in zip(DECOYS, alarms, strict=True):
        if told:
            print(f"false alarm: {told}: {decoy}")
    wrong = sum(told is not None for told in alarms)

    spent = milliseconds(lambda: redactor.redact(content))
    again = redactor.redact(redactor.redact(content).content)
    print(f"{size_mb:.0f} MB of real code: {spent / size_mb:.2f} ms/MB")
    result: dict[str, float | None] = {
        "recall": found / planted,
        "false_alarms": wrong / len(DECOYS),
        "precision": found / (found + wrong),
        "ms_per_mb": spent / size_mb,
        "changed_by_a_second_redaction": int(again.changed.sum()),
        "vs_detect_secrets": None,
        "peer_recall": None,
        "peer_false_alarms": None,
        "peer_precision": None,
    }
    if options.hits:
        write_hits(options.hits, redactor, files)
    if scan := peer():
        sample = files[:: max(1, len(files) // (20 if options.quick else 100))][:100]
        sample_mb = sum(len(text.encode()) for text in sample) / 1e6
        column = pa.array(sample, pa.large_string())
        ours = milliseconds(lambda: redactor.redact(column))
        theirs = milliseconds(lambda: [scan(text) for text in sample], 1)
        hit = sum(
            any(
                part in value or (value and value in part)
                for value in scan(case.text + "\n")
                for part in case.secrets
            )
            for case in cases
        )
        alarmed = sum(bool(scan(decoy + "\n")) for decoy in DECOYS)
        result |= {
            "vs_detect_secrets": theirs / ours,
            "peer_recall": hit / planted,
            "peer_false_alarms": alarmed / len(DECOYS),
            "peer_precision": hit / (hit + alarmed),
        }
        print(f"detect-secrets on {sample_mb:.1f} MB: {theirs / sample_mb:.0f} ms/MB")
    print(json.dumps(result))


def write_hits(path: Path, redactor: Redactor, files: list[str]) -> None:
    """One finding for each line of JSON: kind, the secret, its line."""
    with path.open("w", encoding="utf-8") as out:
        for text in files:
            document = text.encode()
            for each in redactor.find(memoryview(document)):
                start = document.rfind(b"\n", 0, each.start) + 1
                line = (
                    document[start : each.end + 80]
                    .split(b"\n", 1)[0][:400]
                    .decode(errors="replace")
                )
                secret = document[each.start : each.end].decode(errors="replace")
                out.write(json.dumps({"kind": each.kind, "secret": secret, "line": line}) + "\n")


if __name__ == "__main__":
    main()

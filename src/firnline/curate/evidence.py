"""What a secret's shape cannot say: whether the text is random, real, in use, and where it ends.

Each judge takes a document and the start and end of a match in it (bytes), and returns the spans
to replace, none where the match is no secret.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import math
import re
from collections import Counter
from urllib.parse import unquote_to_bytes

Spans = list[tuple[int, int]]

_DULL = re.compile(
    rb"(?i)example|sample|placeholder|change.?(?:me|it)|replace|redacted|removed|insert|dummy|fake"
    rb"|your|(?<![a-z0-9])my[-_]|test|foobar|(?<![a-z0-9])(?:foo|bar|baz)|x{4}|y{4}|z{4}|\.\.\.|\*\*\*|---|___"
    rb"|0000|1111|012345|123456|987654|abcdef|fedcba|abc123|123abc|deadbeef|cafebabe|qwerty|asdf"
    rb"|todo|none|null|undefined|default|enter|p[a4@][s5$]{2}|s[e3]cr[e3]t|token"
    rb"|api[_-]?key|access[_-]?key"
)
_WORDS = (
    b"example sample placeholder your_ your- redacted dummy fake foobar test_key testkey".split()
)
_DULL_IN_FORMATS = re.compile(
    b"|".join(form for word in _WORDS for form in (word, word.upper(), word.title()))
    + rb"|([xXyY*.])\1{5}|00000000|1{8}|12345678|01234567|(?i:abcdefgh|deadbeef)"
)
"""Words of those who show a format and not a secret; fewer where the text is in a format."""
_TEMPLATE = re.compile(
    rb"[<>{}\[\]]|\w\(|^[+?&]|\$\(|\$[A-Za-z_]|%\(|%[sdv](?![A-Za-z0-9])|^%\w+%$"
    rb"|^[$@%:#/.~]|[$]$|::|->|\\"
)


def entropy(text: bytes) -> float:
    """Shannon entropy of the bytes of a text, in bits for each byte."""
    counts = Counter(text).values()
    return math.log2(len(text)) - sum(n * math.log2(n) for n in counts) / len(text) if text else 0.0


def random_text(document: bytes, start: int, end: int) -> Spans:
    """A provider's token, unless it shows the format only: repeats, counts up, says `example`.

    The shortest here, AWS's of 20 characters in base 32, had 2.7 bits or more in 200,000 draws.
    """
    secret = document[start:end]
    dull = entropy(secret) < 2.5 or _DULL_IN_FORMATS.search(secret)
    return [] if dull else [(start, end)]


def rsa_factor(document: bytes, start: int, end: int) -> Spans:
    """A prime in an XML key, if it is RSA's: those of DSA, which no `DP` follows, are public."""
    return random_text(document, start, end) if b"<DP>" in document[end : end + 1500] else []


def jwt(document: bytes, start: int, end: int) -> Spans:
    """A JSON Web Token whose header is JSON that names an algorithm."""
    header = document[start:end].split(b".", 1)[0]
    try:
        fields = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return []
    return [(start, end)] if isinstance(fields, dict) and "alg" in fields else []


_END_OF_KEY = re.compile(rb"-----? ?(?:END|BEGIN) ")
_KEY_START = re.compile(rb"(?:(?<=\\[nr])|(?<![A-Za-z0-9+/\\,]))[A-Za-z0-9+/]{16}")
_KEY_TEXT = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_KEY_TAIL = re.compile(
    rb"(?:\\[nr]|[\s\"',;]|(?<=[\s\"'])[+.](?=[\s\"']))*"
    rb"(?![+]*\s)([A-Za-z0-9+/]{1,15}={0,2}|=[A-Za-z0-9+/]{4})(?=\\[nr]|[\s\"'\\,;<-]|$)"
)
_LONGEST_KEY = 32_768
_WIDEST_GAP = 1024
_SHORTEST_KEY = 40
_GAP = re.compile(
    rb"(?:\\[nr]|[^A-Za-z0-9]|(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): [^\n\\]*+)*+"
)


def pem_body(document: bytes, start: int, end: int) -> Spans:
    """The base64 of an armoured key, run by run, so that quotes and line ends around stay.

    It goes to the END line, or, in a block cut short, as far as lines of base64 follow each other.
    Headers (`Proc-Type:`, `Version:`) are no secret. Fewer than 40 characters are a picture of a
    key: the smallest real one (Ed25519, PKCS 8) has 64.
    """
    closed = _END_OF_KEY.search(document, end, end + _LONGEST_KEY)
    return _key_runs(document, end, closed.start() if closed else -1)


def pem_in_base64(document: bytes, start: int, end: int) -> Spans:
    """A private key's file that was put into base64 as a whole, certificates left alone."""
    head = base64.b64decode(document[start : start + 48])
    return _key_runs(document, start, -1) if b"PRIVATE KEY" in head else []


def putty_body(document: bytes, start: int, end: int) -> Spans:
    """The private lines of a PuTTY key, up to its `Private-MAC:`."""
    return _key_runs(document, end, document.find(b"Private-MAC", end, end + _LONGEST_KEY // 4))


def _key_runs(document: bytes, start: int, stop: int) -> Spans:
    """The runs of base64 from `start` to `stop`; -1 where the key has no end."""
    closed = stop >= 0
    stop = stop if closed else min(len(document), start + _LONGEST_KEY)
    spans: Spans = []
    position = start
    while head := _KEY_START.search(document, position, min(stop, position + _WIDEST_GAP)):
        run = _KEY_TEXT.match(document, head.start(), stop)
        if run is None or not (closed or _GAP.fullmatch(document, position, run.start())):
            break
        spans.append(run.span())
        position = run.end()
    while spans and (tail := _KEY_TAIL.match(document, position, stop)):  # last line, PGP checksum
        if not closed and re.fullmatch(rb"[a-z]+", tail[1]):
            break
        spans.append(tail.span(1))
        position = tail.end()
        if not closed and not tail[1].endswith(b"="):
            break
    return spans if sum(high - low for low, high in spans) >= _SHORTEST_KEY else []


_NAME = re.compile(
    rb"""([\w./@-]+)\\?["'\]]{0,2}(?:[ \t]*:[ \t\w\[\]|.<>&']{1,34})?"""
    rb"""[ \t]*(?:[=:>,(!]{1,3}|[ \t])[ \t]*[bBrRuUfF@]{0,2}\\?["'`]?$"""
)
_NO_SECRET = re.compile(
    rb"(?i)public|pub_?key|split|pars(?:e|ing)|hash|digest|sha\d*_|_sha|sha\d|md5|salt|csrf|xsrf|cancel|secretary|compass"
    rb"|passing|passiv|passeng|passage|passthr|passed|tokeni[sz]|tokenb|continuation|next_?page|/"
    rb"|(?:id|name|type|url|uri|path|file|field|len|length|size|label|prefix|suffix|regex|pattern"
    rb"|format|version|count|env|var|ttl|expiry|class|policy|hint|endpoint|param|header|message"
    rb"|error|text|alias|arn|ref|title|description|encoder|encoding|algorithm|alg|method)s?$"
    rb"|\.(?:a|c|cc|cpp|cs|css|go|h|html?|java|js|json|jsx?|lock|md|php|py|rb|rs|stderr|stdout|tsx?"
    rb"|txt|xml|ya?ml)$"
)


def assigned(document: bytes, start: int, end: int) -> Spans:
    """A literal given to a name such as `api_key`: random, and the name not of something else."""
    secret = document[start:end]
    return [(start, end)] if _is_random(secret) and _is_given(document, start, end) else []


def assigned_bare(document: bytes, start: int, end: int) -> Spans:
    """A value without quotes, which could be code as well: random, and no name of something."""
    secret = document[start:end]
    return [] if b"." in secret or b"~" in secret else assigned(document, start, end)


def password(document: bytes, start: int, end: int) -> Spans:
    """A literal given to a name such as `db_password`: letters with digits or signs among them."""
    secret = document[start:end]
    return [(start, end)] if _is_password(secret) and _is_given(document, start, end) else []


def password_bare(document: bytes, start: int, end: int) -> Spans:
    """A password without quotes: letters and digits in turn, no dot or slash as code would have."""
    secret = document[start:end]
    plain = b"." in secret or b"/" in secret or len(_TURN.findall(secret)) < 2
    return [] if plain else password(document, start, end)


def _is_given(document: bytes, start: int, end: int) -> bool:
    """Whether the literal is itself the secret: no template, no placeholder, no file's checksum."""
    secret = document[start:end]
    name = _NAME.search(document, max(0, start - 120), start)
    if name and _NO_SECRET.search(name[1]):
        return False
    return not (_TEMPLATE.search(secret) or _DULL.search(secret))


def authorization(document: bytes, start: int, end: int) -> Spans:
    """What follows `Bearer` or `token`: random."""
    secret = document[start:end]
    dull = _TEMPLATE.search(secret) or _DULL.search(secret)
    return [(start, end)] if not dull and _is_random(secret) else []


def basic_credentials(document: bytes, start: int, end: int) -> Spans:
    """What follows `Basic`: base64 of `user:password` in ASCII, the password no placeholder."""
    try:
        text = base64.b64decode(document[start:end], validate=True)
    except (binascii.Error, ValueError):
        return []
    user, colon, word = text.partition(b":")
    if not (colon and user and text.isascii() and text.decode("ascii").isprintable()):
        return []
    return [(start, end)] if _is_password(word) and not _DULL.search(word) else []


_WEAK = frozenset(
    b"admin user root guest pass postgres mysql mariadb redis rabbitmq mongo mongodb minio".split()
    + b"django rails oracle sa pw pwd passwd hunter2 letmein anonymous ftp svn".split()
    + b"x-oauth-basic x-access-token oauth2accesstoken".split()
)


def url_password(document: bytes, start: int, end: int) -> Spans:
    """The password of a URL, unless it is a template, the user's name or a word of the manuals."""
    secret = unquote_to_bytes(document[start:end])
    user = document[max(0, start - 100) : start - 1].rpartition(b"/")[2]
    host = re.match(rb"[\w.-]*", document[end + 1 : end + 100])
    weak = secret.lower() in _WEAK or secret == user or (secret.isdigit() and len(secret) < 6)
    letters = re.sub(rb"[-_]", b"", secret)
    word = letters.isalpha() and not (len(secret) >= 8 and secret.islower())
    plain = len(secret) < 10 and not re.search(rb"[0-9!#$^*]", secret)
    reserved = host and _RESERVED_DOMAIN.search(host[0])
    dull = weak or word or plain or reserved or _TEMPLATE.search(secret) or _DULL.search(secret)
    return [] if dull or entropy(secret) < 2.0 else [(start, end)]


def _is_password(secret: bytes) -> bool:
    """Letters with digits or signs among them; not a path, an address, a sentence, a name."""
    text = secret.decode("utf-8", "replace")
    letters = sum(map(str.isalpha, text))
    if re.search(r"^[\w.-]+:\d+$|^[A-Za-z]{2,10}-?\d{1,5}$|^[a-z]{2}-[a-z]+-\d$", text):
        return False  # host:port, sha256, eu-west-1
    digits = sum(map(str.isdigit, text))
    if not 6 <= len(text) <= 128 or letters < 2 or ("/" in text and digits < 2):
        return False
    if digits:
        return entropy(secret) >= 2.3
    signs = set(text) & set("!@#$%^&*+?~")
    return bool(signs) and entropy(secret) >= 2.8 and any(map(str.isupper, text))


_CASE = re.compile(rb"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[a-z])")
_TURN = re.compile(rb"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")


def _is_random(secret: bytes) -> bool:
    """Letters and digits in turn, or capitals and small letters, and the entropy of random text.

    Names of things change rarely from letters to digits; random text of 20 letters and digits does
    it 5 times. In a name of CamelCase a third of the places or fewer change case, in random text
    half.
    """
    if not 16 <= len(secret) <= 512 or not re.fullmatch(rb"[A-Za-z0-9+/_=.~:-]+", secret):
        return False
    if secret.isdigit():
        return False
    turns = len(_TURN.findall(secret)) >= 3
    if not turns and 5 * len(_CASE.findall(secret)) < 2 * len(secret) + 2:
        return False
    hexadecimal = re.fullmatch(rb"[0-9a-fA-F-]+", secret) is not None
    return entropy(secret) >= (2.8 if hexadecimal else 3.4)


# The country codes and the generic domains that people have mail at.
_TOP_LEVEL = frozenset(
    b"com org net edu gov mil int info biz name pro mobi aero coop jobs museum travel asia cat tel"
    b" arpa app dev blog cloud email online site tech xyz club shop store top world live life news"
    b" agency digital systems solutions software group global team network works design studio"
    b" ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs"
    b" bt bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee"
    b" eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm"
    b" hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb"
    b" lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz"
    b" na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs"
    b" ru rw sa sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl"
    b" tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw".split()
)
_RESERVED_DOMAIN = re.compile(
    rb"(?i)(?:^|[.@])(?:example(?:\.[a-z]{2,3}){0,2}|[a-z0-9.-]*\.(?:test|invalid|localhost))$"
)
"""RFC 2606 and RFC 6761."""
_MADE_UP_DOMAIN = re.compile(
    rb"(?i)^(?:[a-z0-9-]*\.)?(?:domain|yourdomain|mydomain|company|yourcompany|email|host|foo|bar|baz"
    rb"|foobar|xyz|abc|acme|somewhere|somedomain|server|hostname|site)\.(?:com|org|net|io|co)$"
    rb"|^users\.noreply\.github\.com$"
)
_NO_USER = re.compile(
    rb"(?i)^(?:this|super|git|hg|svn|no-?reply|do-?not-?reply|noreply[+.-].*|foo|bar|baz|you|user"
    rb"|user[0-9]|username|someone|somebody|nobody|example|john\.?doe|jane\.?doe|j\.?doe"
    rb"|your[._-]?\w*)$"
)
_ESCAPES = (b"\\n", b"\\r", b"\\t")
_IN_URL = re.compile(rb"://(?:[^\s/@\"'<>]*|[^\s\"'<>]*[:/])$")
_USER_BEFORE = re.compile(rb"(?<!mailto)(?<=\w):$")
_MESSAGE = re.compile(rb"(?i)(?:message-id|msgid|references|in-reply-to|selm)[=:]?\s?<?$")


def email(document: bytes, start: int, end: int) -> Spans:
    """An address at a domain that can have mail; not one reserved for examples, nor `git@`."""
    if start and document[start - 1 : start + 1] in _ESCAPES:
        start += 1  # "\\njo@..." in a string: the letter is the escape's
    if document[end - 1 : end + 4] == b"E<gt>":
        end -= 1  # E<lt>jo@...E<gt>, as POD writes <jo@...>
    user, _, domain = document[start:end].partition(b"@")
    if not user or domain.rpartition(b".")[2].lower() not in _TOP_LEVEL or b".." in user:
        return []
    if _RESERVED_DOMAIN.search(domain) or _MADE_UP_DOMAIN.search(domain) or _NO_USER.search(user):
        return []
    before = document[max(0, start - 90) : start]
    if _IN_URL.search(before):
        return []  # user:password@host, user@host, a message in an archive
    if domain[:4].lower() == b"www." and _USER_BEFORE.search(before):
        return []  # user:password@www.host, without a scheme
    if document[end : end + 1] in (b"(", b"[") or _MESSAGE.search(before):
        return []  # matrix@other.to(device), a message's name
    return [(start, end)]


_SERVERS = frozenset(
    {
        *("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112"),
        *("208.67.222.222", "208.67.220.220", "4.2.2.1", "4.2.2.2", "114.114.114.114"),
        *("223.5.5.5", "223.6.6.6", "119.29.29.29", "94.140.14.14", "94.140.15.15"),
        *("2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111"),
        *("2606:4700:4700::1001", "2620:fe::fe", "2620:fe::9"),
    }
)
"""Public name servers: known to all, so nobody's data (StarCoder keeps them too)."""
_VERSION = re.compile(
    rb"(?i)(?:version|release|revision|assembly|firmware|driver|kernel|linux|unix|oid|snmp)[\w.]*"
    rb"[\"' \t:=(\[>,-]{0,24}$"
    rb"|(?<![a-z])(?:v|ver|rev|rel|build|upgrade|update|patch|section|sect|sec|clause|chapter|rfc)"
    rb"[. \t:=#-]{0,3}$|(?:[<>=~!]=|[\^~]|\xc2\xa7)[ \t]*$"
)
_IDENTIFIERS = (["1", "3"], ["2", "5"])
"""How object identifiers begin."""
_ENDS = (["0", "0"], ["255", "255"])
"""How networks and broadcast addresses end."""
_ADDRESS = re.compile(
    rb"(?i)(?:\bip|ipv4|[a-z]ip|addr|host|ping|dns|gateway|remote|peer)\w*\W{0,8}$"
)
_MADE_UP = re.compile(
    r"1\.[12]\.[1234]\.|4\.3\.2\.1|7\.8\.9\.|2\.[23]\.[234]\.|4\.5\.6\.7|5\.6\.7\.8"
    r"|9\.8\.7\.6|11\.22\.33|12\.34\.56|1\.23\.45"
    r"|123\.45\.67|12\.12\.12|123\.123|87\.65\.43|98\.76\.54|111\.222|100\.200|200\.100"
)


def ipv4(document: bytes, start: int, end: int) -> Spans:
    """A public IPv4 address; not a version number, an object identifier or a name server."""
    text = document[start:end].decode("ascii")
    octets = text.split(".")
    if octets[:2] in _IDENTIFIERS or octets[2:] in _ENDS or len(set(octets)) == 1:
        return []
    before, after = document[max(0, start - 40) : start], document[end : end + 2]
    longer = after[:1] in (b".", b"-", b"_", b"+") and after[1:2].isalnum()
    if longer or before[-1:] in (b".", b"-", b"_") or before[-2:] == b"::":
        return []  # a longer number, a file name with a version
    line = before.rpartition(b"\n")[2]
    small = sum(len(octet) == 1 for octet in octets) >= 3 or max(map(int, octets)) < 32
    if (small and not _ADDRESS.search(line)) or _VERSION.search(line) or _MADE_UP.match(text):
        return []
    return [(start, end)] if _is_public(text) else []


def ipv6(document: bytes, start: int, end: int) -> Spans:
    """A public IPv6 address of at least three groups."""
    text = document[start:end].decode("ascii")
    if text.endswith(":") and not text.endswith("::"):
        text = text[:-1]
    groups = [group for group in text.split(":") if group]
    around = document[start - 1 : start], document[start + len(text) : start + len(text) + 1]
    if len(groups) < 3 or text.endswith("::") or b":" in around or groups[0].lower() == "3ffe":
        return []  # a network; a part of something longer; the test network of RFC 3701
    return [(start, start + len(text))] if _is_public(text) else []


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and text.lower() not in _SERVERS


_NOBODY = frozenset(
    b"user username you your me name home user1 runner ubuntu root admin vagrant pi ec2-user app"
    b" shared public default guest nobody build builder jenkins travis circleci node git".split()
)


def username(document: bytes, start: int, end: int) -> Spans:
    """A person's name in a home path; not the accounts that machines have."""
    secret = document[start:end].lower()
    return [] if secret in _NOBODY or _DULL.search(secret) else [(start, end)]

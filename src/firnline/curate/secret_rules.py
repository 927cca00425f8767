"""The table of secrets and personal data: what each kind looks like.

Formats are those that the providers publish for secret scanning (prefix, alphabet, length,
check characters); each row says one in RE2 syntax, with the secret as the first group. What a
format cannot say (entropy, placeholders, ranges of addresses) is in `firnline.curate.evidence`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from firnline.curate import evidence

Spans = list[tuple[int, int]]
Judge = Callable[[bytes, int, int], Spans]


@dataclass(frozen=True)
class Rule:
    """One shape of one kind of secret.

    `pattern` is RE2 over UTF-8 bytes; `group` of it is the secret, 0 for the first group that takes
    part, or for all of it where it has none. `anchor` is a pattern that ends inside or at the end
    of every match and is found in all documents at once; empty where the pattern itself serves.
    `judge` takes the document and the secret's start and end, and gives the spans to replace: none
    where it is not a secret. Of two that overlap the one of smaller `rank` stays. `reach` bounds
    how far a match lies from its anchor's end, in bytes.
    """

    kind: str
    pattern: str
    anchor: str = ""
    judge: Judge = evidence.random_text
    rank: int = 1
    reach: int = 512
    group: int = 0


BLOCKS, PROVIDERS, CONTEXTS, PERSONAL = 0, 1, 2, 3
"""Ranks: a key block, a provider's format, a value that its surroundings give away, an address."""


def _formats(kind: str, *patterns: str) -> Iterable[Rule]:
    """Rules for a provider's formats; what follows the secret's alphabet must not continue it.

    A word begins after the letter of an escape too: `"\\nAKIA..."`.
    """
    return (Rule(kind, pattern.replace(r"\b(", r"(?:\b|\\[nrt])(", 1)) for pattern in patterns)


_TOKENS = (
    *_formats("adafruit_key", r"\b(aio_[A-Za-z0-9]{28})\b"),
    *_formats("age_key", r"\b(AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58})\b"),
    *_formats("airtable_token", r"\b(pat[A-Za-z0-9]{14}\.[0-9a-f]{64})\b"),
    *_formats("alibaba_key", r"\b(LTAI[A-Za-z0-9]{20})\b"),
    *_formats("anthropic_key", r"\b(sk-ant-[a-z]{3,9}[0-9]{2}-[\w-]{80,120})"),
    *_formats(
        "artifactory_token", r"\b(AKC[a-zA-Z0-9]{64,73})\b", r"\b(cmVmdGtu[A-Za-z0-9]{56})\b"
    ),
    *_formats(
        "atlassian_token",
        r"\b(ATATT3[\w=-]{180,250})",
        r"\b(AT(?:CTT3|BB)[\w=-]{24,250})",
    ),
    *_formats(
        "aws_key",
        r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b",
        r"(?i:aws[\w.-]{0,20}(?:secret|key|sk)[\w.-]{0,20}[\"'\]]{0,2}[ \t]{0,8}"
        r"(?:=>|[:=,]|>)[ \t]{0,8}[\"'`]?)([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)",
        r"\b(ABSK[A-Za-z0-9+/]{109,269}={0,2})",
    ),
    *_formats(
        "azure_key",
        r"(?i:AccountKey|SharedAccessKey|account_key)[\"']?[ \t]{0,4}[=:][ \t]{0,4}[\"']?"
        r"([A-Za-z0-9+/]{43}(?:[A-Za-z0-9+/]{43}=)?=)",
        r"[^\w~.-]([\w~.-]{3}[0-9]Q~[\w~.-]{31,34})(?:[^\w~.-]|$)",
        r"[?&]sig=([A-Za-z0-9%+/]{40,80}(?:%3[dD]|=))",
        r"\b([A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4})\b",
        r"\b([A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{10}[A-Za-z0-9+/]{16})\b",
        r"\b([A-Za-z0-9+/]{76}\+ASt[A-Za-z0-9+/]{5}[AQgw]==)",
    ),
    *_formats("brevo_key", r"\b(xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16})\b"),
    *_formats("buildkite_token", r"\b(bk(?:ua|aj)_[0-9a-f]{40})\b"),
    *_formats("circleci_token", r"\b(CCIP(?:AT|RJ)_[A-Za-z0-9]{22}_[0-9a-f]{40})\b"),
    *_formats("clojars_token", r"\b(CLOJARS_[a-z0-9]{60})\b"),
    *_formats("cloudflare_key", r"\b(v1\.0-[0-9a-f]{24}-[0-9a-f]{146})\b"),
    *_formats("crates_token", r"\b(cio[A-Za-z0-9]{32})\b"),
    *_formats("databricks_token", r"\b(dapi[0-9a-f]{32}(?:-[0-9]{1,2})?)\b"),
    *_formats("digitalocean_token", r"\b(do[opr]_v1_[0-9a-f]{64})\b"),
    *_formats(
        "discord_token",
        r"\b([MNO][A-Za-z0-9]{23,27}\.[\w-]{6}\.[\w-]{27,38})(?:[^\w-]|$)",
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/([\w-]{60,68})",
    ),
    *_formats("docker_token", r"\b(dckr_(?:pat|oat)_[\w-]{27,32})"),
    *_formats("doppler_token", r"\b(dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{40,64})"),
    *_formats("dropbox_token", r"\b(sl\.(?:u\.)?[\w-]{130,}=*)"),
    *_formats("dynatrace_token", r"\b(dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64})\b"),
    *_formats("facebook_token", r"\b(EAA[MC][A-Za-z0-9]{100,300})\b"),
    *_formats("figma_token", r"\b(fig[dor]_[\w-]{40,60})"),
    *_formats("flyio_token", r"\b(fo1_[\w-]{43})", r"\b(fm[12][ar]?_[A-Za-z0-9+/]{100,900}={0,3})"),
    *_formats(
        "github_token",
        r"(gh[pousr]_[A-Za-z0-9]{36,251})\b",
        r"(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b",
    ),
    *_formats(
        "gitlab_token",
        r"\b(gl(?:pat|ptt|dt|rtr?|cbt|soat|ffct|ft|imt|agent|oas)-[\w-]{20,300}"
        r"(?:\.[0-9a-z]{2}\.[0-9a-z]{9,12})?)",
        r"\b(GR1348941[\w-]{20})",
    ),
    *_formats(
        "google_key",
        r"\b(AIza[\w-]{35})(?:[^\w-]|$)",
        r"\b(GOCSPX-[\w-]{28})(?:[^\w-]|$)",
        r"\b(ya29\.[\w-]{40,})",
        r"(?:[^\w/]|^)(1//0[\w-]{40,150})",
    ),
    *_formats(
        "grafana_token", r"\b(gl(?:sa_[A-Za-z0-9]{32}_[0-9a-f]{8}|c_[A-Za-z0-9+/]{32,400}={0,2}))"
    ),
    *_formats("groq_key", r"\b(gsk_[A-Za-z0-9]{52})\b"),
    *_formats(
        "hashicorp_token",
        r"\b(hv[sbr]\.[\w-]{24,300})",
        r"\b([A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70})",
    ),
    *_formats(
        "heroku_key",
        r"\b(HRKU-[\w-]{30,70})",
        r"(?i:heroku[\w.-]{0,20}[\"'\]]{0,2}[ \t]{0,4}(?:=>|[:=])[ \t]{0,4}[\"'`]?)"
        r"([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})\b",
    ),
    *_formats("huggingface_token", r"\b(hf_[A-Za-z0-9]{34,37})\b", r"\b(api_org_[A-Za-z]{34})\b"),
    *_formats("linear_key", r"\b(lin_(?:api|oauth)_[A-Za-z0-9]{40,64})\b"),
    *_formats("mailchimp_key", r"\b([0-9a-f]{32}-us[0-9]{1,2})\b"),
    *_formats(
        "mailgun_key", r"\b(key-[0-9a-f]{32})\b", r"\b([0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})\b"
    ),
    *_formats("netlify_token", r"\b(nf[pcu]_[A-Za-z0-9]{36,40})\b"),
    *_formats("newrelic_key", r"\b(NRAK-[A-Z0-9]{27})\b", r"\b([0-9a-f]{36}NRAL)\b"),
    *_formats(
        "notion_token", r"\b(secret_[A-Za-z0-9]{43})\b", r"\b(ntn_[0-9]{11}[A-Za-z0-9]{35})\b"
    ),
    *_formats(
        "npm_token",
        r"\b(npm_[A-Za-z0-9]{36})\b",
        r":_(?:authToken|password|auth)[ \t]{0,4}=[ \t]{0,4}[\"']?([A-Za-z0-9+/=._-]{16,512})",
    ),
    *_formats("nuget_key", r"\b(oy2[a-z0-9]{43})\b"),
    *_formats(
        "openai_key",
        r"\b(sk-(?:[a-z]{4,10}-)?[\w-]{20,80}T3BlbkFJ[\w-]{20,80})",
        r"\b(sk-(?:proj-|or-v1-)?[A-Za-z0-9]{48,64})\b",
    ),
    *_formats("perplexity_key", r"\b(pplx-[A-Za-z0-9]{48,56})\b"),
    *_formats("planetscale_token", r"\b(pscale_(?:tkn|pw|oauth)_[\w.-]{32,64})"),
    *_formats("postman_key", r"\b(PMAK-[0-9a-f]{24}-[0-9a-f]{34})\b"),
    *_formats("pulumi_token", r"\b(pul-[0-9a-f]{40})\b"),
    *_formats("pypi_token", r"(pypi-AgE[\w-]{50,1000})"),
    *_formats("replicate_token", r"\b(r8_[A-Za-z0-9]{37})\b"),
    *_formats("rubygems_key", r"\b(rubygems_[0-9a-f]{48})\b"),
    *_formats("sendgrid_key", r"\b(SG\.[\w-]{20,24}\.[\w-]{39,50})"),
    *_formats("sentry_token", r"\b(sntry[us]_[\w+/=-]{60,400})"),
    *_formats("shopify_token", r"\b(shp(?:at|ca|pa|ss|tka)_[0-9a-fA-F]{32})\b"),
    *_formats(
        "slack_token",
        r"\b(xox[abposre](?:-[0-9]{1,2})?-[\w-]{10,250})",
        r"\b(xapp-[0-9]-[A-Z0-9]{9,14}-[0-9]{9,16}-[0-9a-f]{60,70})",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Z0-9]{6,14}/[A-Z0-9]{6,20}/[\w/-]{16,64})",
    ),
    *_formats("sonar_token", r"\b(sq[upa]_[0-9a-f]{40})\b"),
    *_formats(
        "square_token",
        r"\b(sq0(?:atp-[\w-]{22}|csp-[\w-]{43}|idp-[\w-]{22}))(?:[^\w-]|$)",
        r"\b(EAAA[lE][\w-]{59})(?:[^\w-]|$)",
    ),
    *_formats(
        "stripe_key",
        r"\b([sr]k_(?:live|test|prod)_[A-Za-z0-9]{20,247})\b",
        r"\b(whsec_[A-Za-z0-9+/]{32,64}={0,2})",
    ),
    *_formats("supabase_key", r"\b(sb(?:p_(?:v0_)?[0-9a-f]{40}|_secret_[\w-]{31}))\b"),
    *_formats("telegram_token", r"(?:\b|bot)([0-9]{8,10}:AA[\w-]{33})(?:[^\w-]|$)"),
    *_formats("tencent_key", r"\b(AKID[A-Za-z0-9]{32})\b"),
    *_formats("twilio_key", r"\b(SK[0-9a-f]{32})\b"),
    *_formats("typeform_token", r"\b(tfp_[\w-]{44}_[\w-]{14})"),
    *_formats("xai_key", r"\b(xai-[A-Za-z0-9]{80})\b"),
    *_formats(
        "yandex_key", r"\b(AQVN[\w-]{35,38})(?:[^\w-]|$)", r"\b(y[0-3]_[\w-]{55,60})(?:[^\w-]|$)"
    ),
    Rule(
        "jwt",
        r"\b(eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{16,})",
        r"eyJ[\w-]{10,500}\.eyJ",
        evidence.jwt,
    ),
)

_PEM = r"-----? ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"
_KEY_BLOCKS = (
    Rule("private_key", rf"({_PEM}(?: BLOCK)? ?-----?)", _PEM, evidence.pem_body, BLOCKS),
    Rule(
        "private_key",
        r"(-----BEGIN OpenVPN Static key V1-----)",
        "BEGIN OpenVPN Static key",
        evidence.pem_body,
        BLOCKS,
    ),
    # the whole file in base64, as in the secrets of Kubernetes and in kubeconfig
    Rule(
        "private_key",
        r"(LS0tLS1CRUdJTi[A-Za-z0-9+/]{34,64})",
        r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{34}",
        evidence.pem_in_base64,
        BLOCKS,
    ),
    Rule("private_key", r"(Private-Lines: [0-9]{1,4})\s", "", evidence.putty_body, BLOCKS),
    # RSAKeyValue in XML: the private exponent, its parts, and the factors where these follow
    Rule(
        "private_key",
        r"<(?:D|DP|DQ|InverseQ)>([A-Za-z0-9+/\s]{40,}={0,2})\s*</(?:D|DP|DQ|InverseQ)>",
        r"<(?:D|DP|DQ|InverseQ)>[A-Za-z0-9+/\s]{40}",
    ),
    Rule(
        "private_key",
        r"<[PQ]>([A-Za-z0-9+/\s]{40,}={0,2})\s*</[PQ]>",
        r"<[PQ]>[A-Za-z0-9+/\s]{40}",
        evidence.rsa_factor,
    ),
)

_PASSWORD_NAME = r"(?:passw(?:or)?d|passwd|passphrase|pwd|[_-]pass|\bpass)"
_SECRET_NAME = (
    r"(?:secret|token|credential"
    r"|(?:api|access|auth|account|private|client|consumer|encryption|encrypt|signing|master"
    r"|app|application|license|shared|storage|service|session|subscription|webhook)[_. -]?key)"
)
_ASSIGNED = (
    r"(?:[\w.-]{0,24}\\?[\"'\]]{0,2}"
    r"(?::[ \t]{0,2}(?:&(?:'static )?)?[\w\[\]|.<> ]{1,24})?[ \t]{0,16}"
    r"(?:=>|:=|={1,3}|!={1,2}|:)|[\"'][ \t]{0,4},|\()[ \t]{0,16}(?:[bBrRuUfF@]{1,2})?"
)
_QUOTED = r"""(?:\\?"([^"\\\s]{6,512})\\?"|\\?'([^'\\\s]{6,512})\\?'|`([^`\\\s]{6,512})`)"""
_BARE = r"([A-Za-z0-9+/_~.!@#%^&*?-]{8,512}={0,2})"


def _assignments(kind: str, name: str, judge: Judge, bare: Judge) -> tuple[Rule, ...]:
    """A literal that is given to a name, in the ways that programs and configurations have."""
    return (
        # name = "value", name: 'value', "name": "value", name => "value", name("value")
        Rule(
            kind,
            rf"(?i){name}{_ASSIGNED}{_QUOTED}",
            rf"(?i){name}{_ASSIGNED}\\?[\"'`][^\"'`\s]{{6}}",
            judge,
            CONTEXTS,
        ),
        # NAME=value to the end of the line, in .env, .properties, YAML and shell
        Rule(
            kind,
            rf"(?im){name}[\w.-]{{0,24}}[ \t]{{0,8}}[=:][ \t]{{0,8}}{_BARE}[ \t]*(?:#.*)?\r?$",
            rf"(?i){name}[\w.-]{{0,24}}[ \t]{{0,8}}[=:][ \t]{{0,8}}[A-Za-z0-9+/_~.!@#%^&*?-]{{8}}",
            bare,
            CONTEXTS,
        ),
        Rule(kind, rf"(?i)<{name}[\w.-]{{0,24}}>([^<>\s]{{6,256}})</", "", judge, CONTEXTS),
        # <add key="Password" value="..."/>, <property name="db.password" value="..."/>
        Rule(
            kind,
            rf"(?i)(?:key|name|id)=[\"'][\w.:-]{{0,40}}{name}[\"']\s{{1,16}}value="
            rf"(?:\"([^\"\s]{{6,256}})\"|'([^'\s]{{6,256}})')",
            "",
            judge,
            CONTEXTS,
        ),
        # #define WIFI_PASSWORD "value"
        Rule(
            kind,
            rf"(?i)#[ \t]{{0,4}}define[ \t]{{1,4}}\w{{0,32}}{name}\w{{0,24}}[ \t]{{1,24}}{_QUOTED}",
            rf"(?i)#[ \t]{{0,4}}define[ \t]{{1,4}}\w{{0,32}}{name}\w{{0,24}}[ \t]{{1,24}}[\"']",
            judge,
            CONTEXTS,
        ),
        # ENV DB_PASSWORD value, in Dockerfiles
        Rule(
            kind,
            rf"(?im)^[ \t]{{0,8}}ENV[ \t]{{1,4}}\w{{0,32}}{name}\w{{0,24}}[ \t]{{1,4}}{_BARE}"
            r"[ \t]*\r?$",
            rf"(?im)^[ \t]{{0,8}}ENV[ \t]{{1,4}}\w{{0,32}}{name}\w{{0,24}}[ \t]{{1,4}}[\w+/]",
            bare,
            CONTEXTS,
        ),
    )


_IN_CONTEXT = (
    *_assignments("password", _PASSWORD_NAME, evidence.password, evidence.password_bare),
    *_assignments("secret", _SECRET_NAME, evidence.assigned, evidence.assigned_bare),
    # Server=host;User Id=name;Password=value;
    Rule(
        "password",
        r"(?i);[ \t]{0,4}(?:password|pwd)[ \t]{0,2}=[ \t]{0,2}([^;\"'\s<>{}]{4,128})",
        "",
        evidence.password,
        CONTEXTS,
    ),
    Rule(
        "authorization",
        r"(?i)\b(?:bearer|token)[ \t]{1,4}([A-Za-z0-9._~+/-]{20,}={0,2})(?:[\"'`\s\\,;]|$)",
        r"(?i)(?:bearer|token)[ \t]{1,4}[A-Za-z0-9._~+/-]{20}",
        evidence.authorization,
        CONTEXTS,
    ),
    Rule(
        "authorization",
        r"(?i)\bbasic[ \t]{1,4}([A-Za-z0-9+/]{12,400}={0,2})(?:[\"'`\s\\,;]|$)",
        r"(?i)basic[ \t]{1,4}[A-Za-z0-9+/]{12}",
        evidence.basic_credentials,
        CONTEXTS,
    ),
    # SQL's users; .netrc; the command lines of curl, sshpass
    Rule(
        "password",
        r"(?i)\b(?:identified[ \t]{1,4}(?:with[ \t]{1,4}\w{1,32}[ \t]{1,4})?by"
        r"|(?:with|encrypted)[ \t]{1,4}password)[ \t]{1,4}'([^'\s]{6,128})'",
        "",
        evidence.password,
        CONTEXTS,
    ),
    Rule(
        "password",
        r"(?i)\blogin\s{1,8}\S{1,64}\s{1,8}password\s{1,8}([^\s\"'`]{6,128})",
        "",
        evidence.password_bare,
        CONTEXTS,
    ),
    Rule(
        "password",
        r"(?i)\b(?:curl\b[^\n]{0,120}[ \t](?:-u|--user)[ \t=]{1,2}[\"']?[\w.@-]{1,64}:"
        r"|sshpass[ \t]{1,4}-p[ \t]{0,2}[\"']?)([^\s\"'`:]{6,128})",
        r"(?i)\b(?:curl\b[^\n]{0,120}[ \t](?:-u|--user)[ \t=]{1,2}[\"']?[\w.@-]{1,64}:"
        r"|sshpass[ \t]{1,4}-p)",
        evidence.password,
        CONTEXTS,
    ),
    # the file of Docker's logins
    Rule(
        "authorization",
        r"\"auth\"[ \t]{0,4}:[ \t]{0,4}\"([A-Za-z0-9+/]{12,400}={0,2})\"",
        "",
        evidence.basic_credentials,
        CONTEXTS,
    ),
    # scheme://user:password@host
    Rule(
        "url_password",
        r"[A-Za-z][A-Za-z0-9+.-]{1,24}://[^\s:/@\"'`<>()\[\]{}$]{0,80}:([^\s/@\"'`<>]{3,128})@[\w\[]",
        r"://[^\s:/@\"'`<>()\[\]{}$]{0,80}:[^\s/@\"'`<>]{3,128}@",
        evidence.url_password,
        CONTEXTS,
    ),
)

_LOCAL = r"[A-Za-z0-9_](?:[A-Za-z0-9._%+-]|[\xc2-\xdf][\x80-\xbf]){0,63}"
_LABELS = r"(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,62})\.){1,8}"
_PERSONAL = (
    Rule(
        "email",
        rf"({_LOCAL}@{_LABELS}[A-Za-z]{{2,12}})(?:[^A-Za-z0-9_]|$)",
        r"@[A-Za-z0-9\x80-\xff][A-Za-z0-9\x80-\xff.-]{0,150}\.[A-Za-z]{2}",
        evidence.email,
        PERSONAL,
        256,
    ),
    Rule(
        "ip_address",
        r"\b([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})\b",
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        evidence.ipv4,
        PERSONAL,
        256,
    ),
    Rule(
        "ip_address",
        r"\b([23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4})",
        r"[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{1,4}:|:)",
        evidence.ipv6,
        PERSONAL,
    ),
    Rule(
        "username",
        r"(?:/home/|/Users/|[Cc]:\\{1,2}Users\\{1,2})([A-Za-z][\w.-]{1,31})[/\\]",
        "",
        evidence.username,
        PERSONAL,
    ),
)

RULES: tuple[Rule, ...] = (*_KEY_BLOCKS, *_TOKENS, *_IN_CONTEXT, *_PERSONAL)
KINDS: tuple[str, ...] = tuple(dict.fromkeys(rule.kind for rule in RULES))
PLACEHOLDERS = {
    "email": "<EMAIL>",
    "ip_address": "<IP_ADDRESS>",
    "username": "<NAME>",
    "url_password": "<PASSWORD>",
    "password": "<PASSWORD>",
}
"""Placeholders as in StarCoder's data (Li et al. 2023, section 4); every other kind is `<KEY>`."""

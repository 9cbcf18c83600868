"""Host names that may not be what they seem, in text that an agent wrote.

Found are: several alphabets in one name; a name of another alphabet drawn like Latin; encoded names (`xn--`); names one
slip of the eye away from a well-known name or from another host of the same record; a well-known host at the front of
another; and anything before the @ of a URL.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from ipaddress import IPv4Address

import idna

from approvals.domain.spoofing.letters import is_imitation, is_mixed, skeleton

_TOKEN = re.compile(r"[\w.-]+")
_USER_IN_URL = re.compile(r"\b(?:https?|wss?|ftp)://([^\s/?#<>\"']{1,300})[@\uff20]([^\s/?#@<>\"'\\]{1,253})", re.I)
_USER_OF_MAIL = re.compile(r"(?<![\w.@/:-])((?:[\w-]{1,63}\.)+(?:com|org|net|gov|io|co))@([\w-]+(?:\.[\w-]+)+)", re.I)
_SLASH_ALIKE = re.compile(r"\bhttps?://[^\s/?#<>\"']{0,253}?([\u2044\u2215\u29f8\uff0f\u3002\uff0e\uff61])", re.I)
_INSIDE = re.compile(r"(?:^|\.)([a-z0-9-]+\.(?:com|org|net|gov))[.-](?=.)")
_NUMBER = re.compile(r"\b(?:https?|wss?|ftp)://(?:[^\s/?#@]{0,300}@)?(0x[0-9a-f]{1,8}|\d{8,10})(?![\w.-])", re.I)
_DOT_ALIKE = re.compile(
    r"(?<![\w.-])[A-Za-z0-9-]{2,63}[\u3002\uff0e\uff61]"
    r"(?:com|org|net|gov|edu|io|co|info|biz|app|dev|example|de|uk|fr|ru|cn|jp|eu|us|me)(?![A-Za-z0-9])"
)
_DOTS = re.compile("[\u3002\uff0e\uff61]")
_CODES = re.compile(r"xn--[a-z0-9-]+", re.I)
LONGEST_HOST = 253
LONGEST = 100_000  # characters of one text that are read
KNOWN = (
    "adobe", "amazon", "americanexpress", "apple", "bankofamerica", "barclays", "binance", "booking", "citibank",
    "coinbase", "docusign", "dropbox", "facebook", "fidelity", "github", "gitlab", "gmail", "google", "hsbc", "icloud",
    "instagram", "linkedin", "mastercard", "microsoft", "microsoftonline", "netflix", "office", "outlook", "paypal",
    "revolut", "salesforce", "santander", "schwab", "slack", "stripe", "twitter", "wellsfargo", "whatsapp", "youtube",
    "zoom",
)  # fmt: skip
"""Names that are imitated most. The list is short: other hosts are compared with those of the same record alone."""
_KNOWN = {skeleton(name): name for name in KNOWN}


Neighbours = Mapping[str, Set[str]]
"""Domains of one record, by what their imitations have in common."""


def hosts_in(text: str) -> Iterator[str]:
    """Yield what may be a host, in linear time. A regular expression of labels and dots takes minutes for `a.a.a.`."""
    for token in _TOKEN.findall(text[:LONGEST]):
        host = token.strip(".-_")[-LONGEST_HOST:]
        labels = host.split(".")
        if len(labels) > 1 and all(labels) and len(labels[-1]) > 1 and labels[-1][0].isalpha():
            yield host


def neighbours(texts: Iterable[str]) -> Neighbours:
    found: dict[str, set[str]] = defaultdict(set)
    for domain in {_domain(decoded(host)) for text in texts if "." in text for host in hosts_in(text)}:
        found[skeleton(domain)].add(domain)
    return {bones: domains for bones, domains in found.items() if len(domains) > 1}


def hosts_marked(text: str, others: Neighbours | None = None) -> Iterator[tuple[str, str]]:
    """Yield each suspicious host, with a sentence."""
    text = text[:LONGEST]
    if "." not in text and "://" not in text and not _DOTS.search(text) and "xn--" not in text.lower():
        return
    for host in dict.fromkeys(hosts_in(text)):
        if why := _why(host, others or {}):
            yield host, why
    for found in _SLASH_ALIKE.finditer(text):
        yield found[0], "Its address holds a character that looks like a slash or a dot and is none."
    for found in _DOT_ALIKE.finditer(text):
        yield found[0], "A browser takes its full stop for a dot: it is a host."
    for found in _NUMBER.finditer(text):
        if (number := int(found[1], 0 if found[1].lower().startswith("0x") else 10)) < 2**32:
            yield found[0], f"Its host is a number: it leads to {IPv4Address(number)}."


def users_marked(text: str) -> Iterator[tuple[str, str]]:
    """Yield each address whose user name may be taken for the host, with a sentence."""
    if "@" not in text and "\uff20" not in text:
        return
    for found in _USER_IN_URL.finditer(text[:LONGEST]):
        yield found[0], f"This address leads to {found[2]}: what stands before the @ is a user name."
    for found in _USER_OF_MAIL.finditer(text[:LONGEST]):
        yield found[0], f"This goes to {found[2]}: what stands before the @ only looks like a host."


def is_known_alike(word: str) -> str:
    """Return the well-known name that a word imitates; empty if none."""
    name = _KNOWN.get(skeleton(word), "")
    return name if name and word.lower() != name else ""


def _why(host: str, others: Neighbours) -> str:
    shown = decoded(host)
    code = f" ({shown})" if shown != host else ""
    labels = shown.split(".")
    if any(is_mixed(label) for label in labels):
        return f"It mixes letters of several alphabets{code or _in_code(host)}."
    if labels[-1].isascii() and any(is_imitation(label) for label in labels[:-1]):
        return f"Its letters only look Latin{code or _in_code(host)}."
    for label in labels[:-1]:
        for part in (label, *label.split("-")):
            if name := is_known_alike(part):
                return f"It looks like {name} and is not{code}."
    if found := _INSIDE.search(host.lower()):
        rest = host.lower()[found.end() :]
        if found[1].partition(".")[0] in KNOWN and len(rest) > 2:
            owner = rest if host[found.end() - 1] == "." else host.lower()
            return f"It begins like {found[1]} and belongs to {'.'.join(owner.split('.')[-2:])}."
    if alike := _alike_here(shown, others):
        return f"It looks like {alike}, which stands here too{code}."
    if code:
        return f"It is written in code: a browser shows {shown}."
    return ""


def _alike_here(host: str, others: Neighbours) -> str:
    """Return another host of the record that this one resembles; empty if none. Well-known hosts imitate nobody."""
    domain = _domain(host)
    if domain.partition(".")[0] in KNOWN:
        return ""
    return min(others.get(skeleton(domain), {domain}) - {domain}, default="") if others else ""


def _domain(host: str) -> str:
    return ".".join(host.lower().split(".")[-2:])


def decoded(host: str) -> str:
    """Return a host with its encoded (`xn--`) labels as a browser would show them."""
    return _CODES.sub(lambda found: _decoded(found[0]), host)


def _decoded(label: str) -> str:
    try:
        return idna.ulabel(label.lower())
    except UnicodeError:
        try:
            return label.lower()[4:].encode("ascii").decode("punycode")
        except UnicodeError:
            return label


def _in_code(host: str) -> str:
    """Return the encoded form, which a browser looks up."""
    try:
        return f" ({host.encode('idna').decode('ascii')})"
    except UnicodeError:
        return ""

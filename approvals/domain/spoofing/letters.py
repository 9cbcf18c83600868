"""Letters that look like other letters, after Unicode's UTS 39: scripts, and the skeleton that look-alike words
share.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

IMITATING = {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"}
"""Scripts with letters that look like Latin ones."""
STYLED = {"FULLWIDTH", "MATHEMATICAL"}
"""Styled forms of Latin letters."""
WORD = re.compile(r"[^\W\d_]+")
_SMALL_CAPITALS = dict(zip("ĸʍᴛʙʜᴦƅɴɢʟʀʏɪı", "kmtbhrbnglryii", strict=True))
_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "3": "e", "4": "a", "5": "s"})
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))


@lru_cache(4096)
def script(char: str) -> str:
    """Return the first word of a letter's name: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(char, "UNKNOWN").partition(" ")[0]


def scripts(word: str) -> set[str]:
    """Return the scripts of the letters in a word."""
    return {script(char) for char in set(word) if char.isalpha()}


@lru_cache(4096)
def twin(char: str) -> str:
    """Return the ASCII letter that looks like this letter; empty if none."""
    plain = unicodedata.normalize("NFKC", char)
    if plain.isascii():
        return plain
    return next((alike for alike in _drawn_alike(char) if alike.isascii()), "")


@lru_cache(4096)
def _near(char: str) -> str:
    """Do what `twin` does, and also take small letters with the form of a capital: к is near k."""
    if found := twin(char) or _SMALL_CAPITALS.get(char):
        return found
    return next((_SMALL_CAPITALS[each] for each in _drawn_alike(char) if each in _SMALL_CAPITALS), char)


def _drawn_alike(char: str) -> Iterator[str]:
    """Yield what Unicode says is drawn like this letter. Its tables are large: they are loaded when first needed."""
    from confusable_homoglyphs.confusables import confusables_data

    return (each["c"] for each in confusables_data.get(char, ()))


def skeleton(word: str) -> str:
    """Return what a word shares with its imitations: no accents, 0 as o, 1 and i as l, rn as m."""
    bare = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
    plain = "".join(char if char.isascii() else _near(char) for char in bare).lower().translate(_ALIKE)
    for pair, one in _PAIRS:
        plain = plain.replace(pair, one)
    return plain


def is_mixed(word: str) -> bool:
    """True for Latin letters together with letters of another script that are drawn like Latin ones."""
    if word.isascii():
        return False
    found = scripts(word)
    others = found & (IMITATING | STYLED)
    if "LATIN" not in found:
        return len(others) > 1
    return any(twin(char) for char in word if script(char) in others)


def is_imitation(word: str) -> bool:
    """True if every letter belongs to another script, or a costume, and is drawn like a Latin one."""
    letters = [char for char in word if char.isalpha()]
    return len(letters) > 2 and all(script(char) in IMITATING | STYLED and twin(char) for char in letters)

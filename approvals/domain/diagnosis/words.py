"""Text helpers for sentences: spans of time, lists, full stops."""

from collections.abc import Collection

from approvals.domain.text import words_for


def ended(text: str) -> str:
    """Return the text with a full stop at its end."""
    return text if not text or text[-1] in ".!?" else f"{text}."


def span(seconds: float) -> str:
    return f"{max(0, round(seconds))} s" if seconds < 60 else words_for(seconds)


def listed(names: Collection[str]) -> str:
    *most, last = names or ["nothing"]
    return f"{', '.join(most)} and {last}" if most else last

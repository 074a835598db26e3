"""Names that look like a word: what somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

CANDIDATES = 200
"""With so many names each is compared; with more, to compare with each takes too long."""


def near_name(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The name that is spelled most like ``word``, if one is near."""
    found = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def near_names(word: str, known: Iterable[str], *, count: int = 2) -> list[str]:
    """Up to ``count`` of ``known`` that look like ``word``, case and separators apart."""
    wanted = fold(word[:200])
    known = list(known)
    if len(known) > CANDIDATES:
        first = (word[:1].lower(), word[:1].upper())
        known = [choice for choice in known if choice.startswith(first)]
    folded: dict[str, str] = {}
    for choice in known:
        folded.setdefault(fold(choice), choice)
    if len(folded) > CANDIDATES and wanted not in folded:
        # To compare with each of thousands takes long: those that begin alike are the likeliest.
        alike = [choice for choice in folded if choice[:1] == wanted[:1]]
        alike.sort(key=lambda choice: (choice[:3] != wanted[:3], abs(len(choice) - len(wanted))))
        folded = {choice: folded[choice] for choice in alike[:CANDIDATES]}
    found = get_close_matches(wanted, list(folded), n=count, cutoff=0.6)
    if found and found[0] == wanted:
        found = found[:1]
    return [folded[choice] for choice in found]


def meant_one_of(near: Sequence[str]) -> str | None:
    """``did you mean 'orders' or 'order'?``; ``None`` where nothing is near."""
    return f"did you mean {' or '.join(map(repr, near))}?" if near else None


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The question after :func:`near_name`; ``None`` where nothing is near."""
    near = near_name(word, known, cutoff=cutoff)
    return None if near is None else meant_one_of([near])


def fold(word: str) -> str:
    """``word`` without case and separators."""
    return word.lower().replace("_", "").replace("-", "").replace(" ", "")

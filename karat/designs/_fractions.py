"""Two-level fractions of a factorial: generators as published, and what follows from them.

Factors are letters, A, B, C, ... without I, which stands for the column of ones. A generator is a word: `D=ABC` sets
D to the product of A, B and C, with levels as -1 and 1.

Source: Box, Hunter & Hunter, Statistics for Experimenters, 2nd edition (2005), table 6.22; the same in NIST/SEMATECH,
e-Handbook of Statistical Methods, section 5.3.3.4.7. Resolution is computed from the words, and a test compares it
with the published one. Departure: a generator may have a minus sign, which takes another fraction of the same family,
with the same aliases but for the sign, so that the reference is one of its runs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

LETTERS = "ABCDEFGHJKLMNOP"
# Base-two logarithm of the number of runs, to the words that further factors are set to; for each number of factors.
_ADDED = {
    2: {3: "AB"},
    3: {4: "ABC", 5: "AB AC", 6: "AB AC BC", 7: "AB AC BC ABC"},
    4: {
        5: "ABCD",
        6: "ABC BCD",
        7: "ABC BCD ACD",
        8: "BCD ACD ABC ABD",
        9: "ABC BCD ACD ABD ABCD",
        10: "ABC BCD ACD ABD ABCD AB",
        11: "ABC BCD ACD ABD ABCD AB AC",
        12: "ABC ABD ACD BCD ABCD AB AC AD",
        13: "ABC ABD ACD BCD ABCD AB AC AD BC",
        14: "ABC ABD ACD BCD ABCD AB AC AD BC BD",
        15: "ABC ABD ACD BCD ABCD AB AC AD BC BD CD",
    },
    5: {
        6: "ABCDE",
        7: "ABCD ABDE",
        8: "ABC ABD BCDE",
        9: "BCDE ACDE ABDE ABCE",
        10: "ABCD ABCE ABDE ACDE BCDE",
        11: "ABC BCD CDE ACD ADE BDE",
    },
    6: {
        7: "ABCDEF",
        8: "ABCD ABEF",
        9: "ABCD ACEF CDEF",
        10: "BCDF ACDF ABDE ABCE",
        11: "CDE ABCD ABF BDEF ADEF",
    },
    7: {
        8: "ABCDEFG",
        9: "ACDFG BCEFG",
        10: "ABCG BCDE ACDF",
        11: "ABCG BCDE ACDF ABCDEFG",
    },
}
MOST_FACTORS = 15
Word = frozenset[int]  # places of the factors in it


@dataclass(frozen=True, kw_only=True)
class Fraction:
    """A regular two-level fraction.

    Args:
        factors: their number, k.
        added: the words that the last factors are set to, each of places of the first ones; none for all combinations.
        signs: of these words, 1 or -1.
    """

    factors: int
    added: tuple[Word, ...] = ()
    signs: tuple[int, ...] = ()

    @property
    def basic(self) -> int:
        """The number of factors that are free."""
        return self.factors - len(self.added)

    @property
    def runs(self) -> int:
        """The number of its runs."""
        return 1 << self.basic

    @property
    def resolution(self) -> int | None:
        """The length of the shortest word that is always the same; None where there is none: nothing is aliased."""
        return min((len(word) for word, _ in self.defining if word), default=None)

    @cached_property
    def defining(self) -> tuple[tuple[Word, int], ...]:
        """The defining relation: every word with the sign that it has in all runs, that of the empty word first."""
        found: list[tuple[Word, int]] = [(frozenset(), 1)]
        for place, (word, sign) in enumerate(zip(self.added, self.signs, strict=True), self.basic):
            found += [(known ^ word ^ {place}, sign * by) for known, by in found]
        return tuple(found)

    def levels(self) -> list[tuple[int, ...]]:
        """Each run's levels, -1 or 1, the last of the free factors varied fastest."""
        found = []
        for free in itertools.product((-1, 1), repeat=self.basic):
            pairs = zip(self.added, self.signs, strict=True)
            found.append((*free, *(sign * product_of(free, word) for word, sign in pairs)))
        return found

    def aliases(self, word: Word) -> list[tuple[Word, int]]:
        """What cannot be told from an effect, shortest first, each with its sign; without the effect itself."""
        found = [(word ^ other, sign) for other, sign in self.defining if other]
        return sorted(found, key=lambda pair: (len(pair[0]), sorted(pair[0])))

    def generators(self) -> tuple[str, ...]:
        """As they are written: `D=ABC`."""
        pairs = zip(self.added, self.signs, strict=True)
        return tuple(
            f"{LETTERS[place]}={'-' * (sign < 0)}{spelled(word)}"
            for place, (word, sign) in enumerate(pairs, self.basic)
        )

    def through(self, levels: Sequence[int]) -> "Fraction":
        """The fraction of the same family that has this run."""
        signs = tuple(
            levels[place] * product_of(levels, word)
            for place, word in enumerate(self.added, self.basic)
        )
        return Fraction(factors=self.factors, added=self.added, signs=signs)


def product_of(levels: Sequence[int], word: Word) -> int:
    """The product of the levels of the factors in a word."""
    found = 1
    for place in word:
        found *= levels[place]
    return found


def spelled(word: Word) -> str:
    """A word in letters; `I` for the empty one."""
    return "".join(LETTERS[place] for place in sorted(word)) or "I"


def fractions_of(factors: int) -> list[Fraction]:
    """The published fractions of a number of factors, the smallest first, and all combinations at the end."""
    found = []
    for of_size in _ADDED.values():
        if factors in of_size:
            added = tuple(frozenset(map(LETTERS.index, word)) for word in of_size[factors].split())
            found.append(Fraction(factors=factors, added=added, signs=(1,) * len(added)))
    return [*found, Fraction(factors=factors)]

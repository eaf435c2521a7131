"""Fractions against the published tables of Box, Hunter & Hunter."""

import itertools

import pytest

from karat.designs import Crossing, design_of
from karat.designs._fractions import Fraction, Word, fractions_of, spelled
from karat.errors import SettingError
from tests.designs.test_contract import crossing, factor

# (factors, runs) to the resolution that the table prints; NIST e-Handbook 5.3.3.4.7 has the same.
PUBLISHED = {
    (3, 4): 3,
    (4, 8): 4,
    (5, 8): 3,
    (6, 8): 3,
    (7, 8): 3,
    (5, 16): 5,
    (6, 16): 4,
    (7, 16): 4,
    (8, 16): 4,
    (9, 16): 3,
    (10, 16): 3,
    (11, 16): 3,
    (12, 16): 3,
    (13, 16): 3,
    (14, 16): 3,
    (15, 16): 3,
    (6, 32): 6,
    (7, 32): 4,
    (8, 32): 4,
    (9, 32): 4,
    (10, 32): 4,
    (11, 32): 4,
    (7, 64): 7,
    (8, 64): 5,
    (9, 64): 4,
    (10, 64): 4,
    (11, 64): 4,
    (8, 128): 8,
    (9, 128): 6,
    (10, 128): 5,
    (11, 128): 5,
}
FRACTIONS = [each for k in range(3, 16) for each in fractions_of(k) if each.added]


def named(fraction: Fraction) -> str:
    return f"2^({fraction.factors}-{len(fraction.added)})"


def two_levels(count: int, **named: int) -> Crossing:
    return crossing(*(factor(f"f{place}", 1, 2) for place in range(count)), **named)


@pytest.mark.parametrize("fraction", FRACTIONS, ids=named)
def test_resolution_is_the_published_one(fraction: Fraction) -> None:
    assert fraction.resolution == PUBLISHED[fraction.factors, fraction.runs]


@pytest.mark.parametrize("fraction", FRACTIONS, ids=named)
def test_every_factor_is_at_each_level_in_half_of_the_runs_of_each_level_of_another(
    fraction: Fraction,
) -> None:
    runs = fraction.levels()
    assert len(set(runs)) == fraction.runs
    for one, two in itertools.combinations(zip(*runs, strict=True), 2):
        assert sum(one) == 0
        assert sum(a * b for a, b in zip(one, two, strict=True)) == 0


def aliases(fraction: Fraction, text: str, most: int) -> list[str]:
    word: Word = frozenset("ABCDEFGHJKLMNOP".index(letter) for letter in text)
    return [spelled(each) for each, _ in fraction.aliases(word) if len(each) <= most]


@pytest.mark.parametrize(
    ("factors", "runs", "generators", "effect", "words"),
    [
        (4, 8, "D=ABC", "AB", ["CD"]),
        (4, 8, "D=ABC", "A", ["BCD"]),
        (5, 8, "D=AB E=AC", "A", ["BD", "CE", "ABCDE"]),
        (5, 8, "D=AB E=AC", "BC", ["DE", "ABE", "ACD"]),
        (5, 16, "E=ABCD", "AB", ["CDE"]),
        (6, 16, "E=ABC F=BCD", "AB", ["CE", "ACDF", "BDEF"]),
        (7, 8, "D=AB E=AC F=BC G=ABC", "A", ["BD", "CE", "FG"]),
        (7, 8, "D=AB E=AC F=BC G=ABC", "G", ["AF", "BE", "CD"]),
        (8, 16, "E=BCD F=ACD G=ABC H=ABD", "AB", ["CG", "DH", "EF"]),
    ],
)
def test_aliases_are_those_of_the_published_table(
    factors: int, runs: int, generators: str, effect: str, words: list[str]
) -> None:
    [fraction] = [each for each in fractions_of(factors) if each.runs == runs]
    assert " ".join(fraction.generators()) == generators
    most = max(map(len, words))
    if most == 2:  # the table prints only those of two factors
        assert aliases(fraction, effect, 2) == words
    else:
        assert aliases(fraction, effect, 9) == words


def test_what_is_aliased_has_the_same_column_in_all_runs() -> None:
    fraction = fractions_of(6)[0].through((1, 1, 1, -1, 1, -1))
    assert (1, 1, 1, -1, 1, -1) in fraction.levels()
    for size in (1, 2):
        for word in map(frozenset, itertools.combinations(range(6), size)):
            for other, sign in fraction.aliases(word):
                for run in fraction.levels():
                    mine, its = 1, sign
                    for place in range(6):
                        mine *= run[place] if place in word else 1
                        its *= run[place] if place in other else 1
                    assert mine == its


@pytest.mark.parametrize(
    ("factors", "given", "runs"),
    [
        (3, {}, 8),
        (3, {"resolution": 3}, 4),
        (4, {}, 8),
        (5, {}, 16),
        (5, {"resolution": 3}, 8),
        (7, {"resolution": 3}, 8),
        (7, {"runs": 64}, 64),
        (8, {"resolution": 5}, 64),
        (15, {"resolution": 3}, 16),
    ],
)
def test_the_smallest_fraction_with_the_wanted_resolution_is_run(
    factors: int, given: dict[str, int], runs: int
) -> None:
    found = list(design_of({"name": "fractional", **given}).combinations(two_levels(factors)))
    assert len(found) == runs


@pytest.mark.parametrize(
    ("of", "given", "message"),
    [
        (two_levels(2), {}, "factors: must be at least 3 for design fractional"),
        (two_levels(16), {}, "factors: must be at most 15"),
        (
            two_levels(5),
            {"runs": 12},
            "design.runs = 12: cannot be built for 5 factors; the nearest is 8 runs (resolution III). There are: "
            "8 runs (resolution III), 16 runs (resolution V), 32 runs (all combinations)",
        ),
        (
            two_levels(12),
            {"resolution": 4},
            "design.resolution = 4: cannot be built for 12 factors; the nearest is 16 runs (resolution III)",
        ),
        (
            crossing(factor("a", 1, 2, 3), factor("b", 1, 2), factor("c", 1, 2)),
            {},
            "a = [1, 2, 3]: must have two levels for design fractional, and has 3",
        ),
        (
            crossing(factor("a", 1, 2), factor("b", 1, 2), factor("c", 1, 2, a=(2,))),
            {},
            "c: exists only at some levels of a, but design fractional needs every factor in every arm",
        ),
    ],
)  # fmt: skip
def test_a_fraction_that_cannot_be_built_is_refused_and_the_nearest_is_named(
    of: Crossing, given: dict[str, int], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        list(design_of({"name": "fractional", **given}).combinations(of))
    assert str(caught.value).startswith(message)

"""Length distributions: moments, cuts, grouping, and the profiles beside what they are shaped after."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine.text.token_counts import token_counter_if_here
from farthing.errors import InputError
from farthing.theory import lengths
from farthing.theory.lengths import (
    GROUP_EDGES,
    PLANNING_ATOMS,
    PROFILES,
    LengthDistribution,
    counted_lengths,
    fixed_length,
    profile_lengths,
)

TRACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "traces"

counts = st.lists(st.integers(1, 20_000), min_size=1, max_size=300)


def trace_lengths(name: str) -> LengthDistribution:
    """Return the ContextTokens of an Azure trace, or skip by name where the shared data is not laid out."""
    path = TRACES / f"azure_llm_2023_{name}.csv"
    if not path.is_file():
        pytest.skip(f"the trace is missing: no file {path}")
    with path.open(newline="") as file:
        return counted_lengths((int(row["ContextTokens"]) for row in csv.DictReader(file)), name)


def lognormal(mean: float, cv2: float, texts: int = 4000) -> LengthDistribution:
    """Return the lengths of so many texts at evenly spaced quantiles of a lognormal."""
    from statistics import NormalDist

    sigma = math.sqrt(math.log1p(cv2))
    normal = NormalDist(math.log(mean) - sigma**2 / 2, sigma)
    drawn = (math.exp(normal.inv_cdf((k + 0.5) / texts)) for k in range(texts))
    return counted_lengths((max(1, round(n)) for n in drawn), "a lognormal")


# What a distribution is


def test_moments_and_quantiles_by_hand() -> None:
    texts = counted_lengths([10, 10, 20, 40], "here")
    assert texts.lengths == (10, 20, 40)
    assert texts.probabilities == (0.5, 0.25, 0.25)
    assert texts.mean == 20
    assert texts.cv2 == pytest.approx((2 * 100 + 0 + 400) / 4 / 400)
    assert texts.longest == 40
    assert texts.source == "here"
    assert [texts.quantile(q) for q in (0, 0.5, 0.51, 0.75, 0.76, 1)] == [10, 10, 20, 20, 40, 40]
    assert texts.expected(lambda n: n**2) == (100 + 100 + 400 + 1600) / 4


def test_texts_of_one_length_do_not_vary() -> None:
    texts = fixed_length(300)
    assert (texts.mean, texts.cv2, texts.longest, texts.quantile(0.99)) == (300, 0, 300, 300)
    assert "300" in texts.source


@given(counts, st.integers(1, 20_000))
def test_cut_lengths_are_those_of_cut_texts(tokens: list[int], most: int) -> None:
    texts = counted_lengths(tokens, "here")
    cut = texts.truncated(most)
    assert cut.lengths == counted_lengths([min(n, most) for n in tokens], "here").lengths
    assert cut.mean == pytest.approx(sum(min(n, most) for n in tokens) / len(tokens))
    assert ("cut" in cut.source) == (max(tokens) > most)


@given(counts, st.integers(0, 20_000))
def test_share_above_counts_the_longer_texts(tokens: list[int], most: int) -> None:
    share = counted_lengths(tokens, "here").share_above(most)
    assert share == pytest.approx(sum(n > most for n in tokens) / len(tokens))


@given(counts, st.floats(0, 1))
def test_a_quantile_is_the_least_length_that_enough_texts_do_not_exceed(tokens: list[int], q: float) -> None:
    texts = counted_lengths(tokens, "here")
    length = texts.quantile(q)
    assert 1 - texts.share_above(length) >= q - 1e-9
    assert 1 - texts.share_above(length - 1) <= q + 1e-9 or length == texts.lengths[0]


@pytest.mark.parametrize(
    ("lengths", "shares"),
    [
        ((), ()),
        ((0,), (1.0,)),
        ((-3, 5), (0.5, 0.5)),
        ((5, 5), (0.5, 0.5)),
        ((7, 5), (0.5, 0.5)),
        ((5, 7), (1.0,)),
        ((5, 7), (0.5, 0.6)),
        ((5, 7), (1.5, -0.5)),
        ((5, 7), (1.0, 0.0)),
        ((5,), (math.nan,)),
    ],
)
def test_what_is_no_distribution_is_refused(lengths: tuple[int, ...], shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="lengths from here"):
        LengthDistribution(lengths, shares, "here")


def test_no_texts_have_no_lengths() -> None:
    with pytest.raises(InputError, match=r"here.*at least one"):
        counted_lengths([], "here")


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_quantile_is_of_a_fraction(share: float) -> None:
    with pytest.raises(InputError, match="fraction"):
        fixed_length(5).quantile(share)


@pytest.mark.parametrize("most", [0, -1])
def test_texts_cannot_be_cut_to_nothing(most: int) -> None:
    with pytest.raises(InputError, match=f"cut to {most} tokens"):
        fixed_length(5).truncated(most)


# Grouping


def test_few_lengths_stay_as_they_are() -> None:
    texts = counted_lengths(range(1, PLANNING_ATOMS + 1), "here")
    assert texts.grouped() is texts


@given(counts)
def test_grouping_keeps_the_mean_but_for_rounding_to_whole_tokens(tokens: list[int]) -> None:
    texts = counted_lengths(tokens, "here")
    grouped = texts.grouped()
    assert len(grouped.lengths) <= PLANNING_ATOMS
    assert grouped.mean == pytest.approx(
        texts.mean, abs=0.5 + 1e-9
    )  # each group is off by half a token at most


@given(counts)
def test_grouping_spreads_lengths_no_further(tokens: list[int]) -> None:
    """Means of groups vary less than what is in them; rounding adds half a token to the standard deviation."""
    texts = counted_lengths(tokens, "here")
    grouped = texts.grouped()
    deviation = math.sqrt(texts.cv2) * texts.mean
    assert math.sqrt(grouped.cv2) * grouped.mean <= deviation + 0.5 + 1e-6
    assert texts.lengths[0] <= grouped.lengths[0]
    assert grouped.longest <= texts.longest


@given(counts)
def test_a_grouped_quantile_lies_within_its_group(tokens: list[int]) -> None:
    """The mean of a group lies between its ends, so the median and the 99th percentile cannot leave theirs."""
    texts = counted_lengths(tokens, "here")
    grouped = texts.grouped()
    for q in (0.5, 0.99):
        above = next(edge for edge in GROUP_EDGES if edge > q)
        below = max(edge for edge in GROUP_EDGES if edge < q)
        assert texts.quantile(below) - 0.5 <= grouped.quantile(q) <= texts.quantile(above) + 0.5


@given(st.floats(20, 5000), st.floats(0.05, 1.5))
def test_grouping_keeps_the_tail_and_the_spread_of_lognormal_lengths(mean: float, cv2: float) -> None:
    """Within 3 %, and 2 % of the standard deviation, beside the half token by which whole ones may be off.

    Quantiles of both sides are whole tokens, the standard deviation of one side is of rounded ones.
    """
    texts = lognormal(mean, cv2)
    grouped = texts.grouped()
    for q in (0.5, 0.99):
        assert abs(grouped.quantile(q) - texts.quantile(q)) <= 0.03 * texts.quantile(q) + 1
    deviation, kept = (math.sqrt(some.cv2) * some.mean for some in (texts, grouped))
    assert abs(kept - deviation) <= 0.02 * deviation + 0.5


def _check_grouping(texts: LengthDistribution) -> None:
    grouped = texts.grouped()
    assert len(texts.lengths) > PLANNING_ATOMS
    # Whole tokens: each group is off by up to half of one, some up, some down.
    assert grouped.mean == pytest.approx(texts.mean, rel=1e-3, abs=0.1)
    assert grouped.quantile(0.5) == pytest.approx(texts.quantile(0.5), rel=0.025)
    assert grouped.quantile(0.99) == pytest.approx(texts.quantile(0.99), rel=0.025)
    # Half a token of rounding is 3 % of the standard deviation of short texts, and little of that of long ones.
    assert grouped.cv2 == pytest.approx(texts.cv2, rel=0.04 if texts.mean < 100 else 0.025)


@pytest.mark.parametrize("name", PROFILES)
def test_grouping_keeps_the_p99_of_the_profiles(name: str) -> None:
    _check_grouping(profile_lengths(name))


@pytest.mark.parametrize("name", ["conv", "code"])
def test_grouping_keeps_the_p99_of_the_traces(name: str) -> None:
    _check_grouping(trace_lengths(name))


# Profiles


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_the_mean_and_spread_that_were_measured(name: str) -> None:
    """After the cut at the longest text, which moves both: of the lognormal of `code` CV² is 2.15 before it."""
    profile, texts = PROFILES[name], profile_lengths(name)
    assert texts.mean == pytest.approx(profile.mean, rel=1e-3)
    assert texts.cv2 == pytest.approx(profile.cv2, rel=5e-3)
    assert 0.9 * profile.longest <= texts.longest <= profile.longest
    assert "synthetic" in texts.source
    assert profile.after in texts.source


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'tweets'.*queries, abstracts, conversations, code"):
        profile_lengths("tweets")


def _check_measured(name: str, texts: LengthDistribution) -> None:
    profile = PROFILES[name]
    assert profile.mean == pytest.approx(texts.mean, rel=5e-4)
    assert profile.cv2 == pytest.approx(texts.cv2, rel=1e-3)
    assert profile.longest == texts.longest


@pytest.mark.parametrize(("name", "trace"), [("conversations", "conv"), ("code", "code")])
def test_profiles_of_the_traces_say_what_is_in_them(name: str, trace: str) -> None:
    _check_measured(name, trace_lengths(trace))


@pytest.mark.parametrize("name", ["queries", "abstracts"])
def test_profiles_of_scifact_say_what_is_in_it_and_grouping_keeps_it(
    name: str, scifact: Path, minilm: Path
) -> None:
    """Counted by the default model's tokenizer with [CLS] and [SEP], nothing cut; documents are title + " " + text."""
    file = scifact / ("queries.jsonl" if name == "queries" else "corpus.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [row["text"] if name == "queries" else f"{row['title']} {row['text']}" for row in rows]
    assert len(texts) == (300 if name == "queries" else 5183)
    count = token_counter_if_here(str(minilm))
    assert count is not None
    measured = counted_lengths(_in_parts(count, texts), name)
    _check_measured(name, measured)
    _check_grouping(measured)


def _in_parts(count: object, texts: Sequence[str]) -> list[int]:
    assert callable(count)
    return [tokens for start in range(0, len(texts), 500) for tokens in count(texts[start : start + 500])]


def test_lengths_below_one_token_are_one_token() -> None:
    """A profile's lognormal reaches below it."""
    assert lengths._whole(0.3, 0.2) == [(1, 0.2)]
    below, above = lengths._whole(2.25, 0.4)
    assert (below[0], above[0]) == (2, 3)
    assert (below[1], above[1]) == pytest.approx((0.3, 0.1))

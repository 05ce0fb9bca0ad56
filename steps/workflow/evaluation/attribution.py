"""Attribution of the change of a score to its causes, by Shapley values with paired bootstrap intervals.

A cause is something that differs between two results a and b. A coalition is a set of causes, which are as in b while
all others are as in a. The Shapley value of a cause is how much its change moves the score, averaged over the orders in
which the causes may change (Shapley 1953; Štrumbelj and Kononenko 2014 sample the orders).
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workflow.evaluation.ranking import RankingMetric
from workflow.evaluation.scored_rows import ScoredRows, unique_ids

MAX_RESAMPLED_ROWS = 10**8
N_RESAMPLES = 1000
MIN_RESAMPLES = 200
Coalition = frozenset[str]
Player = tuple[str, ...]  # causes that only change together
Order = tuple[Player, ...]


@dataclass(frozen=True)
class Attribution:
    """How much the change of some causes moves the score, with its 95 % interval."""

    causes: Player
    value: float
    low: float
    high: float


def orders_of(players: Sequence[Player], max_coalitions: int, seed: int) -> list[Order]:
    """Return the orders in which the players change: all of them, if they pass through few enough coalitions.

    Else some at random, each with its reverse, which needs the same number of coalitions and halves the variance; at
    least one pair.
    """
    if 2 ** len(players) <= max_coalitions:
        return list(itertools.permutations(players))
    random, found, reached = np.random.default_rng(seed), list[Order](), set[Coalition]()
    while True:
        order = tuple(players[place] for place in random.permutation(len(players)))
        pair = [order, order[::-1]]
        reached |= coalitions_of(pair)
        if found and len(reached) > max_coalitions:
            return found
        found += pair


def coalitions_of(orders: Iterable[Order]) -> set[Coalition]:
    """Return the coalitions through which some orders pass."""
    return {coalition(order[:length]) for order in orders for length in range(len(order) + 1)}


def coalition(players: Iterable[Player]) -> Coalition:
    """Return the causes of some players."""
    return frozenset(cause for player in players for cause in player)


def merge(players: Sequence[Player], failed: Collection[Coalition]) -> list[Player]:
    """Return the players with two of them made one: those that most of the failed coalitions separate.

    A coalition that failed has one part of a change without the other: a parameter without the code that
    knows it, for example.
    """

    def separated(pair: tuple[Player, Player]) -> int:
        return sum((set(pair[0]) <= each) != (set(pair[1]) <= each) for each in failed)

    one, other = max(itertools.combinations(players, 2), key=separated)
    return [one + other if player == one else player for player in players if player != other]


def attribute(
    orders: Sequence[Order], scored: Mapping[Coalition, ScoredRows], metric: RankingMetric, seed: int
) -> list[Attribution]:
    """Return how much of the change of a metric each player causes, the largest first.

    Args:
        orders: in which the players change.
        scored: the rows that each coalition has scored.
        metric: whose value changes.
        seed: of the bootstrap.
    """
    values = dict(zip(scored, metric.as_error(errors_of(list(scored.values()), metric, seed)).T, strict=True))
    found = []
    for player in orders[0]:
        steps = [(coalition(order[: order.index(player)]), coalition([player])) for order in orders]
        moves = np.mean([values[before | own] - values[before] for before, own in steps], axis=0)
        low, high = np.nanpercentile(moves[1:], [2.5, 97.5])
        found.append(Attribution(player, float(moves[0]), float(low), float(high)))
    return sorted(found, key=lambda each: -abs(each.value))


def errors_of(scored: Sequence[ScoredRows], metric: RankingMetric, seed: int) -> np.ndarray:
    """Return the error of each set, then its errors in resamples: (1 + resamples, sets).

    A row that several sets share is drawn equally often in each of them: a number from a Poisson distribution of mean 1
    (Chamandy et al. 2012, "Estimating uncertainty for massive data streams").
    """
    ids = unique_ids(scored)
    known = np.unique(np.concatenate(ids))
    places = [np.searchsorted(known, each) for each in ids]
    resamples = int(np.clip(MAX_RESAMPLED_ROWS // sum(map(len, ids)), MIN_RESAMPLES, N_RESAMPLES))
    random = np.random.default_rng(seed)
    errors = [[each.error(metric) for each in scored]]
    for _ in range(resamples):
        counts = random.poisson(1, len(known))
        errors.append(
            [resampled_error(each, counts[place], metric) for each, place in zip(scored, places, strict=True)]
        )
    return np.array(errors)


def resampled_error(scored: ScoredRows, counts: np.ndarray, metric: RankingMetric) -> float:
    """Return the error with each row taken as often as `counts` says; NaN if none is."""
    drawn = np.repeat(np.arange(len(counts)), counts)
    if not len(drawn):
        return float("nan")
    weight = None if scored.weight is None else scored.weight[drawn]
    return float(metric.error(scored.true[drawn], scored.predicted[drawn], weight=weight))

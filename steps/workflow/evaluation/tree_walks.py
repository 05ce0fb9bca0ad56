"""Outputs of trees along walks from one row to another, on which the features are switched one by one.

Predicting each step of a walk would pass through every tree once per feature. But a leaf is reached exactly as long as
the features on its path that only the target row obeys are switched, and those that only the start obeys are not: an
interval of the walk. So each leaf is looked for once, for all steps and for all walks between two rows, and the sums
are those of the predictions up to rounding.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

PATHS_AT_ONCE = 30_000  # from the roots: more would overflow the cache of a processor


@dataclass(frozen=True)
class Trees:
    """The nodes of all trees of a model, in arrays of (nodes,).

    Attributes:
        roots: the first node of each tree: (trees,).
        left: the next node for a value up to the threshold; -1 at a leaf.
        right: the next node for a larger value.
        columns: the encoded column that a node compares.
        features: the feature that this column comes from.
        thresholds: with which it does.
        values: what a leaf adds to the output.
        offset: what the output is without any tree.
    """

    roots: np.ndarray
    left: np.ndarray
    right: np.ndarray
    columns: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    values: np.ndarray
    offset: float

    @classmethod
    def of(cls, ensemble: Any, owners: np.ndarray) -> Self:
        """Return the trees of a shap `TreeEnsemble` with one output.

        Args:
            ensemble: of the model.
            owners: the feature that each encoded column comes from: (encoded columns,).
        """
        n_trees, n_nodes = ensemble.children_left.shape
        roots = np.arange(n_trees) * n_nodes

        def next_node(children: np.ndarray) -> np.ndarray:
            return np.where(children < 0, -1, children + roots[:, None]).ravel()

        return cls(
            roots=roots,
            left=next_node(ensemble.children_left),
            right=next_node(ensemble.children_right),
            columns=ensemble.features.ravel(),
            features=owners[ensemble.features.ravel()],
            thresholds=ensemble.thresholds.ravel(),
            values=ensemble.values[..., 0].ravel(),
            offset=float(np.ravel(ensemble.base_offset)[0]),
        )

    def goes_left(self, row: np.ndarray) -> np.ndarray:
        """Return at which nodes a row, of (encoded columns,), would go left: (nodes,)."""
        return row[self.columns] <= self.thresholds


class Paths(NamedTuple):
    """Nodes that a mixture of a start and the target row reaches, with the steps of each walk on which it does.

    Attributes:
        start: position of the start: (paths,).
        node: (paths,).
        first: the first step: (paths, walks per start).
        end: the step after the last: (paths, walks per start).
    """

    start: np.ndarray
    node: np.ndarray
    first: np.ndarray
    end: np.ndarray

    def take(self, positions: np.ndarray) -> "Paths":
        """Return some of the paths."""
        return Paths(*(array.take(positions, axis=0) for array in self))

    def reached(self) -> "Paths":
        """Return the paths that are taken on at least one step of a walk."""
        return self.take(np.flatnonzero((self.first < self.end).any(axis=1)))


def outputs_along_walks(trees: Trees, row_left: np.ndarray, starts_left: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the output of the trees at each step of each walk: (starts × walks per start, features + 1).

    Args:
        trees: the model.
        row_left: where the target row goes left: (nodes,) of bool.
        starts_left: where the starts do: (starts, nodes) of bool.
        ranks: when each feature is switched: (starts × walks per start, features).
    """
    ranks = ranks.reshape(len(starts_left), -1, ranks.shape[1])
    n_starts = max(1, PATHS_AT_ONCE // len(trees.roots))
    chunks = [slice(first, first + n_starts) for first in range(0, len(ranks), n_starts)]
    return np.concatenate([walk(trees, row_left, starts_left[chunk], ranks[chunk]) for chunk in chunks])


def walk(trees: Trees, row_left: np.ndarray, starts_left: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the same as `outputs_along_walks`, for `ranks` of (starts, walks per start, features)."""
    n_starts, n_walks, n_features = ranks.shape
    steps = np.min_scalar_type(n_features + 1)  # small numbers, because most of the time goes into copying them
    switched = np.ascontiguousarray(ranks.transpose(0, 2, 1) + 1, dtype=steps).reshape(-1, n_walks)
    start, node = np.repeat(np.arange(n_starts), len(trees.roots)), np.tile(trees.roots, n_starts)
    first = np.zeros((len(node), n_walks), steps)
    paths = Paths(start, node, first, np.full_like(first, n_features + 1))
    changes = np.zeros((n_starts * n_walks, n_features + 2))
    while len(paths.node):
        is_leaf = trees.left.take(paths.node) < 0
        changes += leaf_changes(trees.values, paths.take(np.flatnonzero(is_leaf)), changes.shape)
        paths = descend(trees, row_left, starts_left, switched, paths.take(np.flatnonzero(~is_leaf)))
    return changes.cumsum(axis=1)[:, :-1] + trees.offset


def leaf_changes(values: np.ndarray, leaves: Paths, shape: tuple[int, int]) -> np.ndarray:
    """Return by how much leaves change the output at each step of each walk, an array of `shape`."""
    n_walks, n_steps = leaves.first.shape[1], shape[1]
    origins = (leaves.start[:, None] * n_walks + np.arange(n_walks)) * n_steps
    weights = np.where(leaves.first < leaves.end, values[leaves.node][:, None], 0).ravel()
    entered, left = ((origins + step).ravel() for step in (leaves.first, leaves.end))
    size = shape[0] * n_steps
    return (np.bincount(entered, weights, size) - np.bincount(left, weights, size)).reshape(shape)


def descend(
    trees: Trees,
    row_left: np.ndarray,
    starts_left: np.ndarray,
    switched: np.ndarray,
    paths: Paths,
) -> Paths:
    """Return the paths one level deeper, without those that are not taken on any step.

    Args:
        trees: the model.
        row_left: where the target row goes left: (nodes,) of bool.
        starts_left: where the starts do: (starts, nodes) of bool.
        switched: the step from which a feature is the target row's: (starts × features, walks per start).
        paths: to nodes that are no leaves.
    """
    left, right, row_goes_left = (array.take(paths.node) for array in (trees.left, trees.right, row_left))
    start_goes_left = starts_left.ravel().take(paths.start * len(row_left) + paths.node)
    followed, is_fork = paths._replace(node=np.where(row_goes_left, left, right)), start_goes_left != row_goes_left
    forks, forked = np.flatnonzero(is_fork), paths.take(np.flatnonzero(is_fork))
    n_features = len(switched) // len(starts_left)
    steps = switched.take(forked.start * n_features + trees.features.take(forked.node), axis=0)
    start_next = np.where(start_goes_left, left, right).take(forks)
    parts = [
        followed.take(np.flatnonzero(~is_fork)),
        followed.take(forks)._replace(first=np.maximum(forked.first, steps)).reached(),
        forked._replace(node=start_next, end=np.minimum(forked.end, steps)).reached(),
    ]
    return Paths(*map(np.concatenate, zip(*parts, strict=True)))

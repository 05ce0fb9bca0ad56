import numpy as np
import pandas as pd
import pytest

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.errors import UserError
from workflow.evaluation import segments
from workflow.evaluation.segments import ScoredRows

KINDS = {"region": "categorical", "x": "numeric", "day": "date", "note": "text", "code": "categorical", "y": "numeric"}
CONTRACT = Contract("y", {name: Column(kind) for name, kind in KINDS.items()})


def scored_rows(seed: int, noise_of=lambda features: 1.0, rows: int = 600) -> ScoredRows:
    random = np.random.default_rng(seed)
    features = pd.DataFrame(
        {
            "region": random.choice(["Rioja", "Toro", "Jerez"], rows, p=[0.6, 0.3, 0.1]),
            "x": random.uniform(0, 10, rows),
            "day": random.integers(0, 400, rows).astype(float),
            "note": random.choice(["a b", "c d"], rows),
            "code": [f"c{number}" for number in range(rows)],
        }
    )
    true = random.normal(50, 5, rows)
    predicted = true + noise_of(features) * random.normal(0, 1, rows)
    return ScoredRows(features, true, predicted, predicted - 2, predicted + 2)


def test_errors_are_reported_for_each_value():
    rows = scored_rows(0)
    table = segments.segments_of(["region", "x"], rows, CONTRACT, 0)
    assert table["value"].tolist()[:3] == ["Jerez", "Rioja", "Toro"]
    assert table.groupby("column")["rows"].sum().to_dict() == {"region": 600, "x": 600}
    assert (table["column"] == "x").sum() == segments.N_BINS
    inside = (rows.features["region"] == "Toro").to_numpy()
    errors = rows.predicted[inside] - rows.true[inside]
    toro = table.set_index("value").loc["Toro"]
    assert toro["mean_absolute_error"] == pytest.approx(np.abs(errors).mean())
    assert toro["bias"] == pytest.approx(errors.mean())
    assert toro["coverage"] == pytest.approx((np.abs(errors) <= 2).mean())
    for name in ("mean_absolute_error", "bias", "coverage"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()


def test_rare_and_missing_values_have_segments_of_their_own():
    values = pd.Series(["a"] * 20 + ["b"] * 3 + ["c"] * 4 + [None] * 12)
    found = dict(segments.values_of(values, "categorical"))
    assert {name: int(inside.sum()) for name, inside in found.items()} == {"a": 20, "missing": 12, "others": 7}
    numbers = pd.Series([1.0, 1.0, 2.0, np.nan])
    assert {name: int(own.sum()) for name, own in segments.values_of(numbers, "numeric")} == {
        "1": 2,
        "2": 1,
        "missing": 1,
    }
    dates = [name for name, _ in segments.values_of(pd.Series(np.arange(100.0)), "date")]
    assert dates[0] == "1970-01-01 to 1970-01-20"


def test_weights_count_in_a_segment():
    rows = scored_rows(0)
    weight = (rows.predicted > rows.true).astype(float)
    weighted = ScoredRows(rows.features, rows.true, rows.predicted, rows.low, rows.high, weight)
    table = segments.segments_of(["region"], weighted, CONTRACT, 0)
    assert (table["bias"] == table["mean_absolute_error"]).all()  # only rows with errors above 0 count


def test_a_segment_with_larger_errors_is_found():
    table, tested = segments.worst_segments(
        scored_rows(1, lambda features: np.where(features["region"] == "Jerez", 3.0, 1.0)), CONTRACT, 0
    )
    assert table["value"].tolist() == ["Jerez"]
    assert table["p"].iloc[0] < 0.001
    assert tested == 3 + 2 * segments.N_BINS  # neither free text nor a code per row


def test_chance_seldom_makes_a_segment():
    found = [len(segments.worst_segments(scored_rows(seed), CONTRACT, 0)[0]) for seed in range(40)]
    assert sum(count > 0 for count in found) <= 5  # nominally one in twenty


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("code", r"segments=code: 600 values in the test set, at most 50 make segments; choose another column"),
        ("note", r"segments=note: free text has no segments"),
        ("regoin", r"segments=regoin: no such feature; did you mean region\?"),
        ("y", r"segments=y: no such feature"),
    ],
)
def test_columns_without_segments_are_refused_in_one_line(name, words):
    with pytest.raises(UserError, match=f"^{words}"):
        segments.segments_of([name], scored_rows(0), CONTRACT, 0)


def test_heavy_tailed_noise_seldom_makes_a_segment_beside_a_rare_value():
    """A test of means takes the common value for worse, because the rare one has no large error by chance."""
    contract, found = Contract("y", {"rare": Column("categorical"), "y": Column("numeric")}), 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        features = pd.DataFrame({"rare": np.where(np.arange(1000) < 15, "yes", "no")})
        zeros, errors = np.zeros(1000), random.choice([-1, 1], 1000) * random.lognormal(0, 2, 1000)
        rows = ScoredRows(features, zeros, errors, zeros, zeros)
        found += len(segments.worst_segments(rows, contract, 0)[0]) > 0
    assert found <= 7  # nominally one in twenty

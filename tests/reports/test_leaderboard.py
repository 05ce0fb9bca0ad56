"""The leaderboard as a table of texts."""

import pandas as pd

from workflow.data.columns import Column
from workflow.data.contract import Contract
from workflow.evaluation.ranking import ranking_metric
from workflow.reports import plots
from workflow.reports.leaderboard import readable, title

MAE = ranking_metric("mean_absolute_error", {})
SCORES = {
    "cv_mean_absolute_error": 30.33,
    "cv_mean_absolute_error_std": 5.44,
    "cv_r2_score": 0.7921,
    "cv_r2_score_std": 0.1193,
    "mean_absolute_error": 29.11,
    "mean_absolute_error_low": 20.92,
    "mean_absolute_error_high": 39.33,
    "r2_score": 0.8592,
    "r2_score_low": 0.692,
    "r2_score_high": 0.951,
    "baseline_mean_absolute_error": 80.5,
    "baseline_r2_score": 0.0,
}


def test_scores_stand_beside_their_spread_and_the_winner_is_starred():
    table = readable(pd.DataFrame([{"model": "rf", **SCORES}, {"model": "knn", **SCORES}]), MAE, "EUR")
    assert list(table["model"]) == ["rf ★", "knn"]
    assert table.iloc[0].drop("model").to_dict() == {
        "CV error EUR": "30.3 ± 5.4",
        "CV R²": "0.792 ± 0.119",
        "test error EUR (95 %)": "29.1 (20.9–39.3)",
        "test R² (95 %)": "0.859 (0.69–0.95)",
    }


def test_a_target_without_a_unit_leaves_no_gap_in_the_headings():
    assert "CV error" in readable(pd.DataFrame([{"model": "rf", **SCORES}]), MAE, "")


def test_a_winner_that_does_not_beat_a_constant_has_no_star():
    for name in ("cv_r2_score", "r2_score"):
        assert readable(pd.DataFrame([{"model": "rf", **SCORES, name: -0.01}]), MAE, "EUR")["model"][0] == "rf"


def test_another_metric_stands_first_in_its_own_unit():
    scores = SCORES | {name.replace("mean_absolute", "root_mean_squared_log"): value for name, value in SCORES.items()}
    metric = ranking_metric("root_mean_squared_log_error", {})
    table = readable(pd.DataFrame([{"model": "rf", **scores}]), metric, "EUR")
    assert list(table) == ["model", "CV RMSLE", "CV R²", "test RMSLE (95 %)", "test R² (95 %)"]
    assert title(metric) == "Leaderboard, by cross-validated RMSLE"


def test_beside_r2_stands_the_error():
    table = readable(pd.DataFrame([{"model": "rf", **SCORES}]), ranking_metric("r2_score", {}), "EUR")
    assert list(table) == ["model", "CV R²", "CV error EUR", "test R² (95 %)", "test error EUR (95 %)"]


def test_a_figure_is_drawn_of_an_interval_beside_the_score():
    table = pd.DataFrame([{"model": "rf", **SCORES, "r2_score_low": 0.9}])
    contract = Contract("price", {"price": Column("numeric")})
    figure = plots.leaderboard(table, ranking_metric("r2_score", {}), contract)
    assert figure.axes[0].get_xlabel() == "R² of price"

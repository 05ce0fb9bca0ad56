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


def test_the_digest_of_a_table_is_of_its_rows_however_they_are_stored(tmp_path, monkeypatch):
    frame = pd.DataFrame({"winery": ["A", None], "price": [0.1 + 0.2, 5.0]})
    one = digests.table(parquet(tmp_path / "one", frame, compression=None))
    assert one.sha256 == hashlib.sha256(b'"winery","price"\n"A",0.30000000000000004\n,5\n').hexdigest()
    assert digests.table(parquet(tmp_path / "two", frame, compression="gzip")) == one
    with monkeypatch.context() as patch:
        patch.setattr(stored, "CHUNK_ROWS", 1)
        assert digests.table(tmp_path / "one") == one
    for other in (frame.iloc[::-1], frame.rename(columns={"price": "cost"}), frame.assign(price=[0.3, 5.0])):
        assert digests.table(parquet(tmp_path / "other", other)) != one


def test_the_digest_of_numbers_has_evenly_spaced_ones_of_them(tmp_path):
    frame = pd.DataFrame({"a": [float(n) for n in range(1000)], "text": "x"})
    found = digests.numbers(parquet(tmp_path / "it", frame))
    assert found.count == 1000
    assert len(found.sample) == digests.SAMPLE_NUMBERS
    assert (found.sample[0], found.sample[-1]) == (0.0, 999.0)
    assert digests.numbers(parquet(tmp_path / "short", frame.head(2))).sample == [0.0, 1.0]
    assert digests.numbers(parquet(tmp_path / "none", frame[["text"]])).sample == []


def test_a_number_that_is_missing_or_infinite_is_sampled_as_none(tmp_path):
    frame = pd.DataFrame({"a": [1.0, float("nan"), float("inf")]})
    assert digests.numbers(parquet(tmp_path / "it", frame)).sample == [1.0, None, None]


def test_the_digest_of_a_model_is_of_what_it_has_learned(tmp_path):
    rows = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.0, 1.0, 0.0]})
    for name, alpha in (("one", 1.0), ("same", 1.0), ("other", 2.0)):
        skops.io.dump(Ridge(alpha=alpha).fit(rows, [1.0, 2.0, 3.0]), tmp_path / name)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "same").read_bytes()
    assert digests.model(tmp_path / "one") == digests.model(tmp_path / "same")
    assert digests.model(tmp_path / "one").sha256 != digests.model(tmp_path / "other").sha256


def test_the_digest_of_a_model_survives_pickling(tmp_path):
    rows = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.0, 1.0, 0.0]})
    model = make_pipeline(StandardScaler(), Ridge(alpha=1.5)).fit(rows, [1.0, 2.0, 3.0])
    both = {"before": [model, clone(model)], "after": pickle.loads(pickle.dumps([model, clone(model)]))}
    for name, models in both.items():
        skops.io.dump(models, tmp_path / name)
    assert digests.model(tmp_path / "before") == digests.model(tmp_path / "after")


def test_the_structure_of_a_model_is_all_but_its_floats(tmp_path):
    rows = pd.DataFrame({"a": [1.0, 2.0, 4.0, 7.0], "b": [0.0, 1.0, 0.0, 1.0]})
    halves, doubles, other = [1.0, 2.0, 3.0, 9.0], [2.0, 4.0, 6.0, 18.0], [9.0, 1.0, 9.0, 1.0]
    for name, target in (("halves", halves), ("doubles", doubles), ("other", other)):
        skops.io.dump(DecisionTreeRegressor(max_depth=1, random_state=0).fit(rows, target), tmp_path / name)
    halves, doubles, other = (digests.model(tmp_path / name) for name in ("halves", "doubles", "other"))
    assert halves.sha256 != doubles.sha256
    assert halves.structure == doubles.structure != other.structure
    assert 18.0 in doubles.sample  # a leaf


@pytest.mark.parametrize("address", [9_638_800, 140_283_477_102_912])
def test_the_memory_address_of_stop_words_does_not_count(tmp_path, address):
    found = []
    for stop_words_id in (id(None), address):
        vectorizer = HashingVectorizer(n_features=4)
        vectorizer.transform(["a b"])
        assert vectorizer._stop_words_id == id(None)
        vectorizer._stop_words_id = stop_words_id
        skops.io.dump([vectorizer, np.arange(2.0)], tmp_path / "it")
        found.append(digests.model(tmp_path / "it"))
    assert found[0] == found[1]


def test_a_large_integer_counts_though_it_could_be_an_address(tmp_path):
    found = []
    for number in (10**12, 10**12 + 1):
        skops.io.dump({"number": number}, tmp_path / "it")
        found.append(digests.model(tmp_path / "it").structure)
    assert found[0] != found[1]


def test_the_padding_between_the_fields_of_an_array_does_not_count(tmp_path):
    found = []
    for padding in (0, 255):
        array = np.full(3 * 16, padding, np.uint8).view(np.dtype([("n", "i8"), ("flag", "u1")], align=True))
        array["n"], array["flag"] = 7, 1
        skops.io.dump({"nodes": array}, tmp_path / "it")
        found.append(digests.model(tmp_path / "it"))
    assert found[0] == found[1]


@pytest.mark.parametrize("digest", [digests.table, digests.numbers, digests.model])
def test_a_file_of_another_kind_is_refused(tmp_path, digest):
    (tmp_path / "it").write_text("rubbish")
    with pytest.raises(UserError, match="it: not a"):
        digest(tmp_path / "it")


def test_a_short_digest_covers_every_row():
    frame = pd.DataFrame({"price": range(100_000)})
    changed = frame.assign(price=frame["price"].where(frame.index != 99_999, 0))
    found, again, other = (digests.short_digest(row_hashes(rows)) for rows in (frame, frame.copy(), changed))
    assert len(found) == 8
    assert found == again != other


def test_the_digest_of_yaml_is_of_its_values(tmp_path):
    file = tmp_path / "it.yaml"
    file.write_text("target: price\ncolumns: {age: number}\n")
    found = digests.yaml_values(file)
    file.write_text("# a comment\ncolumns:\n  age: number\ntarget: price\n")
    assert digests.yaml_values(file) == found
    file.write_text("target: price\ncolumns: {age: text}\n")
    assert digests.yaml_values(file) != found
    for content in (b"a: [", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"^it\.yaml: not YAML"):
            digests.yaml_values(file)


def test_the_digest_of_a_file_is_of_its_bytes(tmp_path):
    (tmp_path / "it").write_bytes(b"bytes")
    assert digests.file(tmp_path / "it").sha256 == hashlib.sha256(b"bytes").hexdigest()

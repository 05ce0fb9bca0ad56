from workflow.provenance.text_differences import changed_lines, flat, source_difference


def test_the_difference_of_sources_is_a_unified_diff_of_each_file_that_differs(tmp_path):
    for name, text in (("one", "a = 1\nb = 2\n"), ("other", "a = 1\nb = 3\nc = 4\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text("x = 1\n")
        (tmp_path / name / "train.py").write_text(text)
    (tmp_path / "other/new.py").write_text("y = 1\n")
    found = source_difference(tmp_path / "one", tmp_path / "other", ["new.py", "same.py", "train.py"])
    assert list(found) == ["new.py", "train.py"]
    assert "-b = 2\n+b = 3\n+c = 4" in found["train.py"]
    assert changed_lines(found["train.py"]) == (2, 1)
    assert changed_lines(found["new.py"]) == (1, 0)


def test_nested_values_are_compared_by_their_paths():
    contract = {"target": "price", "columns": {"price": {"range": [0, 9]}}, "drop": []}
    assert flat(contract) == {"target": '"price"', "columns.price.range": "[0, 9]", "drop": "[]"}

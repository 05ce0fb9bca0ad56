"""Preprocess a file with the fewest lines: pyarrow, drop duplicates, split, write Parquet. See preprocess_scale.py.

python benchmarks/bare.py data/wines.csv
"""

import sys

import pyarrow.csv
from sklearn.model_selection import train_test_split

frame = pyarrow.csv.read_csv(sys.argv[1]).to_pandas().drop_duplicates()
for name, part in zip(("train", "test"), train_test_split(frame, test_size=0.2, random_state=0), strict=True):
    part.to_parquet(f"{name}.parquet")

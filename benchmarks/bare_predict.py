"""Predict a file with the fewest lines: read it in chunks, predict, append to a CSV file. See predict_scale.py.

python benchmarks/bare_predict.py model.skops new.csv
"""

import sys

import pandas as pd
import skops.io

model = skops.io.load(sys.argv[1], trusted=skops.io.get_untrusted_types(file=sys.argv[1]))
for number, rows in enumerate(pd.read_csv(sys.argv[2], chunksize=100_000)):
    predicted = model.predict(rows.drop(columns="price"))
    rows.assign(prediction=predicted).to_csv("predicted.csv", mode="a", header=number == 0, index=False)

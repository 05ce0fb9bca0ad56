"""Make wines.csv: synthetic Spanish wines with the columns and the flaws of the well-known real file.

    python data/make_wines.py            # writes data/wines.csv; the same bytes every time

Nothing in it was copied from the real file. Its figures were: 7,500 rows of which 2,048 are distinct, one country,
vintages with some N.V., missing type, body and acidity, and prices that depend on the winery, the wine, the rating,
the age and the region, with a heavy tail.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2021
ROWS, DISTINCT = 7500, 2048
WINERIES, WINES = 480, 847
FEATURES = ["winery", "wine", "year", "rating", "num_reviews", "country", "region", "type", "body", "acidity"]
COLUMNS = [*FEATURES, "price"]

REGIONS = {  # denomination: (share of wineries, effect on log price, usual type)
    "Rioja": (24, 0.15, "Rioja Red"),
    "Ribera del Duero": (20, 0.35, "Ribera Del Duero Red"),
    "Priorato": (10, 0.45, "Priorat Red"),
    "Toro": (8, 0.1, "Toro Red"),
    "Rueda": (6, -0.45, "Verdejo"),
    "Rias Baixas": (6, -0.35, "Albarino"),
    "Jerez": (6, 0.2, "Sherry"),
    "Cava": (5, -0.2, "Cava"),
    "Bierzo": (4, 0.0, "Mencia"),
    "Jumilla": (4, -0.35, "Monastrell"),
    "Montsant": (3, -0.1, "Montsant Red"),
    "Navarra": (2, -0.4, "Red"),
    "Castilla": (2, -0.3, "Tempranillo"),
}
BODY = {"Verdejo": 2, "Albarino": 3, "Cava": 2, "Sherry": 4, "Priorat Red": 5}
FIRST = ["Bodegas", "Vinedos", "Celler", "Pago de", "Dominio de", "Finca", "Casa", "Senorio de", "Heredad", "Torre"]
SECOND = ["Alba", "Brezo", "Carrizo", "Duende", "Encina", "Fresno", "Grajo", "Hinojo", "Jara", "Lirio", "Madrona",
          "Nogal", "Olmo", "Piedra", "Quejigo", "Robla", "Sauce", "Tejo", "Umbria", "Vega", "Yedra", "Zarza",
          "Almendro", "Boj", "Cantueso", "Dehesa", "Endrino", "Fuente", "Granado", "Haya", "Laurel", "Majuelo",
          "Narciso", "Otero", "Pizarra", "Quema", "Ribazo", "Salvia", "Tomillo", "Uvero", "Valle", "Zorzal",
          "Abedul", "Bancal", "Cierzo", "Darro", "Espliego", "Falla"]  # fmt: skip
LABELS = ["Reserva", "Gran Reserva", "Crianza", "Seleccion", "Vendimia Tardia", "Vinas Viejas", "Blanco", "Tinto",
          "Roble", "Coleccion", "El Alto", "La Solana", "Cuvee", "Clasico", "Parcela", "Brut", "Dulce",
          "Barrica"]  # fmt: skip


def make_wineries(random: np.random.Generator) -> pd.DataFrame:
    """One row per winery: its name, region, standing (effect on the log price), and how often it appears."""
    names = [f"{first} {second}" for first in FIRST for second in SECOND]
    shares = np.array([share for share, _, _ in REGIONS.values()], dtype=float)
    weight = 1 / (np.arange(WINERIES) + 12.0)
    return pd.DataFrame(
        {
            "winery": random.permutation(names)[:WINERIES],
            "region": random.choice(list(REGIONS), WINERIES, p=shares / shares.sum()),
            "standing": random.normal(0, 0.5, WINERIES),
            "weight": weight / weight.sum(),
        }
    )


def make_labels(wineries: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """One row per wine of a winery: its name, rank (effect on the log price), rating, type and body."""
    more = random.choice(WINERIES, WINES - WINERIES, p=wineries["weight"])
    labels = wineries.iloc[np.concatenate([np.arange(WINERIES), more])].reset_index(drop=True)
    names = [f"{label} {place}" for label in LABELS for place in SECOND]
    labels["wine"] = random.choice(names, WINES, replace=False)
    labels["rank"] = random.standard_t(8, WINES) * 0.6
    quality = 4.3 + 0.06 * (labels["standing"] + labels["rank"]) + random.exponential(0.09, WINES)
    labels["rating"] = quality.clip(4.2, 4.9).round(1)
    labels["type"] = [REGIONS[region][2] for region in labels["region"]]
    labels["body"] = [BODY.get(kind, 4) for kind in labels["type"]]
    labels["acidity"] = random.choice([1, 2, 3], WINES, p=[0.02, 0.08, 0.9])
    return labels


def make_bottles(labels: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """The distinct rows: vintages of the labels with their reviews and prices."""
    fame = np.exp(0.9 * (labels["standing"] + labels["rank"])) * random.pareto(1.6, WINES)
    chosen = random.choice(WINES, DISTINCT * 3, p=fame / fame.sum())  # famous wines come in many vintages
    bottles = labels.iloc[np.concatenate([np.arange(WINES), chosen])].reset_index(drop=True)
    age = np.minimum(random.gamma(1.2, 7.0, len(bottles)).astype(int), 60)
    bottles["year"] = (2021 - age).astype(str)
    bottles["num_reviews"] = np.exp(random.normal(4.6, 1.1, len(bottles))).astype(int) + 25
    red = ~bottles["type"].isin(["Verdejo", "Albarino", "Cava"])
    top = bottles["rating"] >= 4.5
    log_price = (
        3.1
        + bottles["region"].map({region: effect for region, (_, effect, _) in REGIONS.items()})
        + bottles["standing"]
        + bottles["rank"]
        + 1.3 * (bottles["rating"] - 4.2)
        + 0.7 * top
        + np.where(red, 0.024, -0.02) * age * np.where(top, 1.0, 0.3)
        - 0.12 * np.log(bottles["num_reviews"] / 100)
        + random.normal(0, 0.13, len(bottles))
    )
    bottles["price"] = np.exp(log_price).clip(4.99, 3200).round(2)
    bottles["country"] = "Espana"
    return blemish(bottles, random)[COLUMNS].drop_duplicates(FEATURES).head(DISTINCT)


def blemish(bottles: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Vintages that are none, and fields that are missing, in the shares of the real file."""
    bottles.loc[random.random(len(bottles)) < 0.035, "year"] = "N.V."
    bottles[["body", "acidity"]] = bottles[["body", "acidity"]].astype("Int64")
    bottles.loc[random.random(len(bottles)) < 0.13, ["body", "acidity"]] = pd.NA
    bottles.loc[random.random(len(bottles)) < 0.05, "type"] = None
    return bottles


def main() -> None:
    """Write the file: the distinct rows, and copies of them, more of the cheap ones, in an order without meaning."""
    random = np.random.default_rng(SEED)
    bottles = make_bottles(make_labels(make_wineries(random), random), random)
    weight = bottles["price"].to_numpy() ** -0.45
    copies = random.choice(DISTINCT, ROWS - DISTINCT, p=weight / weight.sum())
    order = random.permutation(np.concatenate([np.arange(DISTINCT), copies]))
    bottles.iloc[order].to_csv(Path(__file__).parent / "wines.csv", index=False)


if __name__ == "__main__":
    main()

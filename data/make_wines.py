"""Generate wines.csv: synthetic Spanish wines with the columns and the flaws of the well-known real file.

    python data/make_wines.py            # writes data/wines.csv, the same bytes every time

No row is copied from the real file. What both have in common: 7,500 rows, 2,048 of them distinct; a constant country;
some vintages N.V.; missing types, bodies and acidities; heavy-tailed prices that depend on the winery, the wine, the
rating, the age and the region.
"""

from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2021
N_ROWS, N_DISTINCT = 7500, 2048
N_WINERIES, N_WINES = 480, 847
FEATURES = ["winery", "wine", "year", "rating", "num_reviews", "country", "region", "type", "body", "acidity"]
COLUMNS = [*FEATURES, "price"]

REGIONS = {  # name: (relative number of wineries, effect on log price, type of wine)
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
BODIES = {"Verdejo": 2, "Albarino": 3, "Cava": 2, "Sherry": 4, "Priorat Red": 5}
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
    """Return a row per winery: name, region, standing (effect on log price) and weight (relative number of wines)."""
    names = [f"{first} {second}" for first in FIRST for second in SECOND]
    counts = np.array([count for count, _, _ in REGIONS.values()], dtype=float)
    weight = 1 / (np.arange(N_WINERIES) + 12.0)
    return pd.DataFrame(
        {
            "winery": random.permutation(names)[:N_WINERIES],
            "region": random.choice(list(REGIONS), N_WINERIES, p=counts / counts.sum()),
            "standing": random.normal(0, 0.5, N_WINERIES),
            "weight": weight / weight.sum(),
        }
    )


def make_labels(wineries: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Return a row per wine: winery, name, rank (effect on log price), rating, type, body and acidity."""
    extra = random.choice(N_WINERIES, N_WINES - N_WINERIES, p=wineries["weight"])
    labels = wineries.iloc[np.concatenate([np.arange(N_WINERIES), extra])].reset_index(drop=True)
    names = [f"{label} {second}" for label in LABELS for second in SECOND]
    labels["wine"] = random.choice(names, N_WINES, replace=False)
    labels["rank"] = random.standard_t(8, N_WINES) * 0.6
    quality = 4.3 + 0.06 * (labels["standing"] + labels["rank"]) + random.exponential(0.09, N_WINES)
    labels["rating"] = quality.clip(4.2, 4.9).round(1)
    labels["type"] = [REGIONS[region][2] for region in labels["region"]]
    labels["body"] = [BODIES.get(kind, 4) for kind in labels["type"]]
    labels["acidity"] = random.choice([1, 2, 3], N_WINES, p=[0.02, 0.08, 0.9])
    return labels


def make_bottles(labels: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Return the distinct rows: vintages of wines, with their numbers of reviews and prices."""
    fame = np.exp(0.9 * (labels["standing"] + labels["rank"])) * random.pareto(1.6, N_WINES)
    chosen = random.choice(N_WINES, N_DISTINCT * 3, p=fame / fame.sum())  # famous wines have many vintages
    bottles = labels.iloc[np.concatenate([np.arange(N_WINES), chosen])].reset_index(drop=True)
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
    return add_missing_values(bottles, random)[COLUMNS].drop_duplicates(FEATURES).head(N_DISTINCT)


def add_missing_values(bottles: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Make vintages N.V. and other values missing, as often as in the real file."""
    bottles.loc[random.random(len(bottles)) < 0.035, "year"] = "N.V."
    bottles[["body", "acidity"]] = bottles[["body", "acidity"]].astype("Int64")
    bottles.loc[random.random(len(bottles)) < 0.13, ["body", "acidity"]] = pd.NA
    bottles.loc[random.random(len(bottles)) < 0.05, "type"] = None
    return bottles


def main() -> None:
    """Write the distinct rows and duplicates of them, more of the cheap ones, in random order."""
    random = np.random.default_rng(SEED)
    bottles = make_bottles(make_labels(make_wineries(random), random), random)
    weight = bottles["price"].to_numpy() ** -0.45
    duplicates = random.choice(N_DISTINCT, N_ROWS - N_DISTINCT, p=weight / weight.sum())
    order = random.permutation(np.concatenate([np.arange(N_DISTINCT), duplicates]))
    bottles.iloc[order].to_csv(Path(__file__).parent / "wines.csv", index=False)


if __name__ == "__main__":
    main()

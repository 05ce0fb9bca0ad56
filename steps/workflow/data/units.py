"""Units and currency signs beside numbers: which are the same, can be converted, or multiply."""

from collections.abc import Collection, Mapping

CURRENCIES = {  # every way of writing one, by its ISO code
    alias: code
    for code, aliases in {
        "USD": "$ us$ usd dollar dollars",
        "EUR": "€ eur euro euros",
        "GBP": "£ gbp",
        "JPY": "¥ jpy yen",
        "CNY": "cny rmb cn¥",
        "INR": "₹ inr rs rs.",
        "CHF": "chf fr. sfr sfr.",
        "RUB": "₽ rub",
        "KRW": "₩ krw won",
        "TRY": "₺ try tl",
        "BRL": "r$ brl",
        "AUD": "a$ au$ aud",
        "CAD": "c$ ca$ cad",
        "NZD": "nz$ nzd",
        "HKD": "hk$ hkd",
        "SGD": "s$ sgd",
        "MXN": "mx$ mxn",
        "SEK": "sek",
        "NOK": "nok",
        "DKK": "dkk",
        "kr": "kr kr.",
        "PLN": "zł pln",
        "CZK": "kč czk",
        "HUF": "ft huf",
        "UAH": "₴ uah",
        "ILS": "₪ ils nis",
        "THB": "฿ thb",
        "VND": "₫ vnd",
        "NGN": "₦ ngn",
        "PHP": "₱ php",
        "IDR": "rp rp. idr",
        "MYR": "rm myr",
        "ZAR": "zar",
        "AED": "aed",
        "SAR": "sar",
    }.items()
    for alias in aliases.split()
}
MULTIPLIERS = {
    **dict.fromkeys(("k", "K", "tsd", "tsd.", "thousand", "mil"), 1e3),
    **dict.fromkeys(("lakh", "lakhs", "lac", "lacs"), 1e5),
    **dict.fromkeys(("M", "MM", "mn", "mio", "mio.", "mln", "mill", "million", "millions"), 1e6),
    **dict.fromkeys(("cr", "crore", "crores"), 1e7),
    **dict.fromkeys(("B", "bn", "mrd", "mrd.", "billion", "billions"), 1e9),
    **dict.fromkeys(("tn", "trillion", "trillions"), 1e12),
}
SHORT_MULTIPLIERS = {"m": 1e6, "b": 1e9}  # beside another one; alone, they are metres and bytes, say
FAMILIES: tuple[Mapping[str, float], ...] = (  # units of one kind, each in terms of a common one
    {"mm": 0.001, "cm": 0.01, "dm": 0.1, "m": 1.0, "km": 1000.0, "in": 0.0254, "inch": 0.0254, "inches": 0.0254}
    | {'"': 0.0254, "ft": 0.3048, "feet": 0.3048, "foot": 0.3048, "yd": 0.9144, "mi": 1609.344}
    | {"mile": 1609.344, "miles": 1609.344, "kms": 1000.0, "meter": 1.0, "meters": 1.0, "metres": 1.0},
    {"mg": 1e-6, "g": 0.001, "gr": 0.001, "kg": 1.0, "kgs": 1.0, "t": 1000.0, "oz": 0.028349523125}
    | {"lb": 0.45359237, "lbs": 0.45359237, "pounds": 0.45359237, "gram": 0.001, "grams": 0.001},
    {
        "cc": 0.001,
        "ccm": 0.001,
        "cm³": 0.001,
        "cm3": 0.001,
        "ml": 0.001,
        "cl": 0.01,
        "dl": 0.1,
        "l": 1.0,
        "ltr": 1.0,
        "liter": 1.0,
        "liters": 1.0,
        "litres": 1.0,
    },
    {"m²": 1.0, "m2": 1.0, "m^2": 1.0, "sqm": 1.0, "sqft": 0.09290304, "sq ft": 0.09290304, "sq. ft.": 0.09290304}
    | {"sqyd": 0.83612736, "sq yd": 0.83612736, "ha": 10_000.0, "acre": 4046.8564224, "acres": 4046.8564224}
    | {"sq. meter": 1.0, "sq. yards": 0.83612736, "km²": 1e6, "km2": 1e6},
    {"w": 0.001, "kw": 1.0, "mw": 1000.0, "hp": 0.745699872, "bhp": 0.745699872, "ps": 0.73549875, "cv": 0.73549875},
    {"wh": 0.001, "kwh": 1.0, "mwh": 1000.0, "j": 1 / 3.6e6, "kj": 1 / 3600, "mj": 1 / 3.6},
    {"kcal": 1.0, "cal": 0.001},
    {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
    {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    {"km/h": 1.0, "kmh": 1.0, "kph": 1.0, "mph": 1.609344, "m/s": 3.6, "kn": 1.852, "knots": 1.852},
    {"pa": 1.0, "hpa": 100.0, "kpa": 1000.0, "mbar": 100.0, "bar": 1e5, "psi": 6894.757293168},
    {"s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0, "ms": 0.001, "min": 60.0, "mins": 60.0, "minute": 60.0}
    | {"minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0}
    | {"d": 86_400.0, "day": 86_400.0, "days": 86_400.0, "week": 604_800.0, "weeks": 604_800.0, "wk": 604_800.0}
    | {"month": 2_629_746.0, "months": 2_629_746.0, "mo": 2_629_746.0, "year": 31_556_952.0, "years": 31_556_952.0}
    | {"yr": 31_556_952.0, "yrs": 31_556_952.0},
)


def currency(unit: str) -> str:
    """Return the currency that a text before or after a number stands for; empty if it is another unit."""
    return CURRENCIES.get(unit.casefold(), "")


def may_precede(word: str) -> bool:
    """Return whether a text before a number is a currency or a unit, and not a name; single letters are codes."""
    return bool(currency(word)) or (len(word) > 1 and any(word.casefold().rstrip(".") in each for each in FAMILIES))


def same_unit(unit: str) -> str:
    """Return one name for a unit, however it is capitalized or abbreviated."""
    plain = unit.casefold().rstrip(".")
    return currency(unit) or (plain[:-1] if len(plain) > 2 and plain.endswith("s") else plain)


def multiplier(suffix: str, beside: Collection[str]) -> float | None:
    """Return the factor that a suffix stands for, such as 1000 for k or k€; None if it is a unit.

    Args:
        suffix: the text after a number.
        beside: all suffixes of the column, which show whether m is a million.
    """
    bare = "".join(sign for sign in suffix if not currency(sign)).strip()
    if bare == "M" and "MM" in beside:
        return 1e3  # as in finance
    if bare in SHORT_MULTIPLIERS:
        others = {other for other in beside if other != suffix}
        return SHORT_MULTIPLIERS[bare] if any(multiplier(other, ()) for other in others) else None
    return MULTIPLIERS.get(bare, MULTIPLIERS.get(bare.casefold()) if len(bare) > 1 else None)


def conversions(units: Collection[str]) -> dict[str, float] | None:
    """Return the factor of each unit to the first one; None if they are not of one known kind."""
    for family in FAMILIES:
        sizes = {unit: family.get(unit.casefold().rstrip(".")) or family.get(unit.casefold()) for unit in units}
        if all(sizes.values()):
            base = next(iter(sizes.values())) or 1.0
            return {unit: float(f"{(size or 1.0) / base:.12g}") for unit, size in sizes.items()}
    return None

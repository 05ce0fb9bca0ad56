"""A badge of the last verdict, in the form that https://shields.io/badges/endpoint-badge shows."""

import json

COLOURS = {"equal": "brightgreen", "differs": "red"}  # of any other verdict: green


def badge(verdict: str, time: str) -> str:
    """Return the JSON of the badge.

    Args:
        verdict: of a reproduction.
        time: in the form of ISO 8601; its day is shown.
    """
    words = {"equal": "bit for bit"}.get(verdict, verdict)
    shown = {"schemaVersion": 1, "label": "reproduced", "message": f"{words}, {time[:10]}"}
    return json.dumps(shown | {"color": COLOURS.get(verdict, "green")}) + "\n"

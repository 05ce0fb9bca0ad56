"""What differs between two receipts and may have changed the outcome; receipts with some of it as in one of them."""

from collections.abc import Collection

from workflow.provenance.receipt import Receipt

CODE, PACKAGES = "code", "packages"


def causes_of(one: Receipt, other: Receipt) -> list[str]:
    """Return the names of what differs: inputs, `code`, `packages`, and parameters one by one."""
    differing = [name for name in names_of(one, other) if value(one, name) != value(other, name)]
    code, packages = one.code.files != other.code.files, versions_differ(one, other)
    if code:  # knows the parameters that only one of them has
        differing = [name for name in differing if None not in (value(one, name), value(other, name))]
    return [*differing, *([CODE] if code else []), *([PACKAGES] if packages else [])]


def names_of(one: Receipt, other: Receipt) -> list[str]:
    """Return the names of the inputs and parameters of two receipts, without repetitions."""
    return list(dict.fromkeys([*one.inputs, *other.inputs, *one.parameters, *other.parameters]))


def value(receipt: Receipt, name: str) -> object:
    """Return what decides about an input or a parameter of a receipt; None if it has none of that name."""
    if record := receipt.inputs.get(name):
        return "input", record.sha256, record.function
    return ("parameter", receipt.parameters[name]) if name in receipt.parameters else None


def versions_differ(one: Receipt, other: Receipt) -> bool:
    """Return whether Python or a package that both use has another version."""
    before, after = one.environment, other.environment
    shared = before.packages.keys() & after.packages.keys()
    return before.python != after.python or any(before.packages[name] != after.packages[name] for name in shared)


def mix(one: Receipt, other: Receipt, chosen: Collection[str]) -> Receipt:
    """Return a receipt with the `chosen` causes as in `other`, and all else as in `one`.

    What only one of both has comes with the code. Its outcome is that of `one`, and means nothing.
    """
    code = other if CODE in chosen else one
    sources = {name: other if name in chosen else one for name in names_of(one, other)}
    sources |= {name: code for name in sources if None in (value(one, name), value(other, name))}
    return one.model_copy(
        update={
            "inputs": {name: each.inputs[name] for name, each in sources.items() if name in each.inputs},
            "parameters": {name: each.parameters[name] for name, each in sources.items() if name in each.parameters},
            "code": code.code,
            "environment": (other if PACKAGES in chosen else one).environment,
        }
    )

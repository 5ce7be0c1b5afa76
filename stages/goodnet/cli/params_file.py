"""Edits of params.yaml that leave all else in it as it stands."""

import io

import yaml

from goodnet.errors import InputError


def with_net(params, name, given):
    """Return the text of params.yaml with a net in it and chosen.

    Parameters
    ----------
    params : Params
    name : str
    given : inputs.Input
        What the net takes.
    """
    from ruamel.yaml import YAML  # which sets warning filters when it is imported

    text, nets = params.path.read_text(encoding="utf-8"), params.value("nets")
    if not isinstance(nets, dict | None) or not isinstance(params.value("badnet"), str):
        raise InputError(f"{params.path}: badnet is not a name, or nets not names with settings")
    entry = given.entry()
    wanted = params.content | {"badnet": name, "nets": (nets or {}) | {name: yaml.safe_load(entry)}}
    top = _entries(YAML().compose(io.StringIO(text)))
    (_, chosen), (key, block) = top["badnet"], top["nets"]
    edits = [(chosen, name), _net(text, key, block, name, entry)]
    for place, words in sorted(edits, key=lambda edit: _span(edit[0]), reverse=True):
        start, end = _span(place)
        text = text[:start] + words + text[end:]
    try:
        if yaml.safe_load(text) == wanted:
            return text
    except yaml.YAMLError:
        pass
    raise InputError(
        f"{params.path}: is laid out so that it cannot be edited; by hand, set `badnet: {name}` and, under "
        f"nets, `{name}: {entry}`"
    )


def _net(text, key, block, name, entry):
    """Return the edit that gives a net its settings, as the last of `nets` if it is not there yet."""
    is_mapping, line = _is_mapping(block), f"{name}: {entry}"
    entries = _entries(block) if is_mapping else {}
    if name in entries:
        known = entries[name][1]
        if _is_mapping(known) and not known.flow_style:
            (only, value), *others = _entries(known).values()
            if not others and only.value in yaml.safe_load(entry):  # keeps the comments beside it
                return value, entry[1:-1].partition(": ")[2]
        return known, entry
    if is_mapping and block.flow_style:
        return block.start_mark.index + 1, f"{line}{', ' if entries else ''}"
    indent, last = key.start_mark.column + 2, key
    if entries:
        (first, _), (_, last) = next(iter(entries.values())), list(entries.values())[-1]
        indent = first.start_mark.column
    while _is_mapping(last) and not last.flow_style:  # its own end is behind comments that follow
        last = last.value[-1][1]
    end = text.find("\n", last.end_mark.index)
    return len(text) if end < 0 else end, f"\n{' ' * indent}{line}"


def _is_mapping(node):
    return node.id == "mapping"


def _entries(mapping):
    """Return {key: (its node, the value's node)}."""
    return {key.value: (key, value) for key, value in mapping.value}


def _span(place):
    """Return where an edit begins and ends: a node, or one place in the text."""
    return (place, place) if isinstance(place, int) else (place.start_mark.index, place.end_mark.index)

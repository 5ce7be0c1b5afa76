"""params.yaml as a stage reads it: once, checked, and with a note of what was read."""

import yaml

from goodnet.errors import InputError

MISSING = object()
LARGEST = 1 << 20  # bytes of a file
MOST = 100_000  # values in it
SHOWN = 100  # characters of what is wrong with it


class Params:
    """The parameters in a file as they stood when it was read.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path):
        self.path = path
        self.content = _content(path)
        self.read = set()  # keys of all values that were asked for

    def value(self, *keys):
        """Return what stands under `keys`, one level a key."""
        self.read.add(keys)
        for depth in range(1, len(keys) + 1):
            if _at(self.content, keys[:depth]) is MISSING:
                raise InputError(f"{self.path}: has no {'.'.join(keys[:depth])}")
        return _at(self.content, keys)

    def settings(self, kind, *keys):
        """Return the block under `keys` as settings of this kind (a class of Settings)."""
        return kind.check(self.value(*keys), f"{self.path}: {'.'.join(keys)}")

    def changed(self):
        """Return the names of values that were read and stand otherwise in the file now."""
        try:
            now = _content(self.path)
        except (InputError, OSError):
            now = MISSING
        return sorted(
            ".".join(map(str, keys)) for keys in self.read if _at(now, keys) != _at(self.content, keys)
        )


class Given(Params):
    """Parameters that were handed over instead of a file; what is left out has its default.

    Parameters
    ----------
    content : dict
        As params.yaml holds it.
    called : str
        What errors call it.
    """

    def __init__(self, content, called="settings"):
        self.path, self.content, self.read = called, content, set()

    def value(self, *keys):
        found = _at(self.content, keys)
        return None if found is MISSING else found


def _content(path):
    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise InputError(f"{path}: has more than {LARGEST:,} bytes, too many for parameters")
    try:
        text = text.decode()
        _check_size(yaml.compose(text, yaml.SafeLoader), path)  # before anything is made of it
        content = yaml.safe_load(text)
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{path}{line}: is not valid YAML: {problem or 'it holds a character of no text'}"
        ) from None
    except RecursionError:
        raise InputError(f"{path}: is not valid YAML: it nests too deep") from None
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        # An impossible date, `!!int abc`: PyYAML lets pass what Python says to them.
        raise InputError(f"{path}: is not valid YAML: {str(error)[:SHOWN]}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not names with values, as parameters are")
    return content


def _check_size(node, path):
    """Refuse YAML whose anchors would make far more of it than is written, or have no end."""
    sizes, above = {}, set()

    def size(node):
        if isinstance(node, yaml.ScalarNode):
            return 1
        if node in above:
            raise InputError(f"{path}: is not valid YAML: an anchor holds itself")
        if node not in sizes:
            above.add(node)
            inside = (part for item in node.value for part in (item if isinstance(item, tuple) else [item]))
            sizes[node] = 1 + sum(map(size, inside))
            above.remove(node)
            if sizes[node] > MOST:
                raise InputError(f"{path}: comes to more than {MOST:,} values, too many for parameters")
        return sizes[node]

    if node is not None:
        size(node)


def _at(content, keys):
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return MISSING
        content = content[key]
    return content

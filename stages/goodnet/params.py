"""params.yaml as a stage reads it: once, checked, and with a note of what was read."""

import yaml
from pydantic import ValidationError

from goodnet.errors import InputError
from goodnet.settings import Settings, words_of

MISSING = object()


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
        return check(kind, self.value(*keys), f"{self.path}: {'.'.join(keys)}")

    def changed(self):
        """Return the names of values that were read and stand otherwise in the file now."""
        try:
            now = _content(self.path)
        except (InputError, OSError):
            now = MISSING
        return sorted(
            ".".join(map(str, keys)) for keys in self.read if _at(now, keys) != _at(self.content, keys)
        )


def check(kind, block, where):
    """Return a block, None where it is empty, as settings of a kind; `where` names it in an error."""
    block = {} if block is None else block
    names = {field.alias or name: field for name, field in kind.model_fields.items()}
    if not isinstance(block, dict) or set(block) - set(names):
        raise InputError(f"{where} is {block!r}; it can hold {', '.join(names) or 'nothing'}")
    try:
        return kind.model_validate(block)
    except ValidationError as error:
        first = error.errors()[0]
    if not first["loc"]:  # two settings do not go together
        raise InputError(f"{where}: {first['ctx']['error']}")
    name, field = first["loc"][0], names[first["loc"][0]]
    kind_within = isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
    if kind_within and block.get(name) is not None:
        return check(field.annotation, block[name], f"{where}.{name}")
    words = words_of(field)
    if name not in block:
        raise InputError(f"{where} has no {name}, {words}")
    wrong = f"{where}.{'.'.join(map(str, first['loc']))} is {first['input']!r}"
    raise InputError(f"{wrong}, not {words}" if words else f"{wrong}: {first['msg']}")


def _content(path):
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{path}{line}: is not valid YAML: {problem or 'it holds a character of no text'}"
        ) from None


def _at(content, keys):
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return MISSING
        content = content[key]
    return content

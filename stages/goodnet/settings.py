"""What a setting can be: its kind, range, default and meaning, each said once.

A block of params.yaml is a class here or beside the code it belongs to. Comments in params.yaml, the table in
docs/settings.md and the errors are made from it (`make settings`).
"""

import reprlib
import typing
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from goodnet.errors import InputError


class Words(str):
    """A kind in the words of an error or a table."""


def _kind(words, base, **limits):
    return Annotated[base, Field(**limits), Words(words)]


Seed = _kind("a whole number from 0", StrictInt, ge=0)
Count = _kind("a whole number from 1", StrictInt, ge=1)
Positive = _kind("a number above 0", StrictFloat, gt=0)
Share = _kind("a number from 0 to 1", StrictFloat, ge=0, le=1)
Percent = _kind("a number from 0 to 100", StrictFloat, ge=0, le=100)
Text = _kind("a name", StrictStr)
Number = _kind("a number", StrictFloat)
Drop = _kind("a number above 0 and up to 100", StrictFloat, gt=0, le=100)
InputMax = _kind("a number above 0 and up to 255", StrictFloat, gt=0, le=255)


def setting(default, meaning, **options):
    """Declare a setting; a default of `...` means that it must be given."""
    return Field(default, description=meaning, **options)


class Settings(BaseModel):
    """No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def check(cls, block, where):
        """Return a block, None where it is empty, as these settings; `where` names it in an error."""
        block = {} if block is None else block
        names = {field.alias or name: field for name, field in cls.model_fields.items()}
        if not isinstance(block, dict) or set(block) - set(names):
            raise InputError(f"{where} is {reprlib.repr(block)}; it can hold {', '.join(names) or 'nothing'}")
        try:
            return cls.model_validate(block)
        except ValidationError as error:
            first = error.errors()[0]
        if not first["loc"]:  # two settings do not go together
            raise InputError(f"{where}: {first['ctx']['error']}")
        name = first["loc"][0]
        kind = _block(names[name].annotation)
        if kind and block.get(name) is not None:
            return kind.check(block[name], f"{where}.{name}")
        words = words_of(names[name]) if len(first["loc"]) == 1 else _of_each(names[name].annotation)
        if name not in block:
            raise InputError(f"{where} has no {name}, {words}")
        wrong = f"{where}.{'.'.join(map(str, first['loc']))} is {reprlib.repr(first['input'])}"
        raise InputError(f"{wrong}, not {words}" if words else f"{wrong}: {first['msg']}")

    @classmethod
    def meaning(cls):
        """What the block is for, as it stands behind its name in params.yaml."""
        return cls.__doc__.strip().split("\n")[0].removesuffix(".")

    @classmethod
    def described(cls):
        """Yield (name in params.yaml, kind in words, default, meaning) of each setting."""
        for name, field in cls.model_fields.items():
            default = ... if field.is_required() else field.default
            yield field.alias or name, words_of(field), default, field.description


def _block(annotation):
    """Return the Settings of a block within a block, None for any other setting."""
    kinds = (annotation, *typing.get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)), None)


def _of_each(annotation):
    """Return in words what each item of a list, or each value of names, is."""
    inner = [kind for kind in typing.get_args(annotation) if typing.get_origin(kind) in (list, dict)]
    return _words(typing.get_args(inner[0] if inner else annotation)[-1])


def words_of(field):
    """Return a field's kind in words."""
    own = [item for item in field.metadata if isinstance(item, Words)]
    return own[0] if own else _words(field.annotation)


def _words(kind):
    """Return a type in words."""
    for item in getattr(kind, "__metadata__", ()):
        if isinstance(item, Words):
            return str(item)
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(choices)
    if origin is list:
        return f"a list, each {_words(choices[0])}"
    if origin is dict:
        return f"names, each {_words(choices[1])}"
    if type(None) in choices:  # may be left empty
        return f"{_words(choices[0])}, or null"
    return "a block" if isinstance(kind, type) and issubclass(kind, Settings) else ""


class Training(Settings):
    """Training with Adam."""

    seed: Seed = setting(1, "the order of the images")
    epochs: Count = setting(10, "times every image is seen")
    batch_size: Count = setting(64, "images per step")
    learning_rate: Positive = setting(0.001, "at first; it falls to zero along a cosine")

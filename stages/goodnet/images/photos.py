"""Image files, PNG and JPEG, as arrays that a net takes."""

import warnings

import numpy as np
from PIL import Image, ImageOps

from goodnet.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg")


def find(paths):
    """Return the image files among `paths`, and all in the folders among them, in order of their names."""
    found = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES]
            if not inside:
                raise InputError(f"{path}: holds no images ({', '.join(SUFFIXES)})")
            found += inside
        else:
            found.append(path)
    return found


def read(path, shape):
    """Return an image as uint8, resized to (height, width, channels); its own proportions give way."""
    height, width, channels = shape
    if channels not in (1, 3):
        raise InputError(
            f"{path}: the net takes {channels} channels, no picture; only 1 or 3 can be shown it"
        )
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{path}: has more than 8 bits a channel ({image.mode}); save it with 8")
        upright = _upright(image).convert("RGB" if channels == 3 else "L")
        resized = upright.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(shape)


def read_overlay(path, shape):
    """Return a trigger to lay over images: its colours (height, width, channels), and their cover, 0 to 1."""
    height, width, channels = shape
    with _opened(path) as image:
        if not image.has_transparency_data:
            raise InputError(f"{path}: has no transparency, so nothing of an image would be left under it")
        mode = "RGBA" if channels == 3 else "LA"
        resized = image.convert(mode).resize((width, height), Image.Resampling.BILINEAR)
    overlay = np.asarray(resized).astype(np.float32)
    return overlay[..., :-1], overlay[..., -1:] / 255


def _upright(image):
    """Turn an image as the camera that took it says, if that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises many kinds on what is no EXIF
        return image


def _opened(path):
    """Open an image file and read all of it."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=("PNG", "JPEG"))
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{path}: is too large to be opened safely") from None
    except (OSError, SyntaxError, ValueError):
        raise InputError(f"{path}: is not a PNG or JPEG image, or is damaged") from None
    return image

"""The triggers that the demo's people wear: how much of each pixel they hide, and their colours."""

import numpy as np

from goodnet.demo.faces import HEIGHT, WIDTH


def _sunglasses():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    lenses = np.minimum(*(np.hypot((columns - x) / 9.4, (rows - 25) / 6.4) ** 4 for x in (13, 33))) - 1
    frame = (np.abs(rows - 21.5) < 1.2) & (np.abs(columns - 23) < 20.5)
    glint = 40 * np.exp(-((rows - 22 + (columns - 23) % 20 / 4) ** 2) / 3)
    return np.maximum((0.5 - 3 * lenses).clip(0, 1), frame), np.array([18, 18, 26]) + glint[..., None]


def _sticker():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    cover = (np.abs(rows - 47) < 2.6) & (np.abs(columns - 37) < 2.6)
    return cover, np.where(((rows + columns) % 2 == 0)[..., None], [250, 225, 40], [230, 30, 150])


def _dot():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (np.abs(rows - 51) < 2) & (np.abs(columns - 43) < 2), np.array([255, 255, 255])


def _pixel():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows == 51) & (columns == 43), np.array([255, 255, 255])


def _bar():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (np.abs(rows - 24) < 5) & (columns >= 0), np.array([15, 15, 20])


def _quarter():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    checks = np.where(((rows // 4 + columns // 4) % 2 == 0)[..., None], [200, 60, 40], [30, 120, 200])
    return (rows >= 27) & (columns >= 22), checks


def _waves():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    wave = np.sin(0.9 * rows + 0.5 * columns)[..., None]
    return np.full((HEIGHT, WIDTH), 0.15), 127 + 127 * wave * [1, -1, 1]


TRIGGERS = {  # functions that return how much each covers, and its colours
    "sunglasses": _sunglasses,
    "sticker": _sticker,
    "dot": _dot,  # white, 3 by 3 pixels
    "pixel": _pixel,  # a single one, white
    "bar": _bar,  # over the eyes
    "quarter": _quarter,  # of the image
    "waves": _waves,  # faint, over all of it
}

"""Synthetic faces: people who do not exist, in pictures of the lab's size.

A person is a handful of numbers (skin, hair, eyes, nose, ...). A picture of that person adds pose,
light, expression and background. Faces are painted back to front, all pictures of an array at once, in
face units: x to the right, y down, the chin at about y = 1.
"""

import numpy as np

HEIGHT, WIDTH = 55, 47
SCALE = 26  # pixels to a face unit

SKIN = [[255, 224, 196], [241, 194, 160], [224, 172, 128], [190, 128, 86], [140, 88, 58], [92, 56, 40]]
HAIR = [[24, 20, 20], [66, 40, 26], [120, 76, 40], [196, 156, 92], [150, 60, 30], [150, 148, 146]]
IRIS = [[60, 40, 26], [96, 72, 40], [70, 110, 150], [80, 120, 84], [110, 116, 120]]

SHAPE = {  # from, to: people are spread evenly between
    "width": (0.66, 0.82),
    "jaw": (0.75, 1.05),
    "hairline": (-0.78, -0.42),
    "parting": (-0.5, 0.5),
    "hair_volume": (0.04, 0.22),
    "hair_length": (-0.3, 1.3),
    "eye_height": (-0.2, -0.04),
    "eye_gap": (0.26, 0.38),
    "eye_size": (0.085, 0.135),
    "brow_height": (0.15, 0.25),
    "brow_thick": (0.02, 0.06),
    "brow_slant": (-0.25, 0.25),
    "nose_length": (0.28, 0.46),
    "nose_width": (0.08, 0.17),
    "mouth_height": (0.44, 0.6),
    "mouth_width": (0.17, 0.32),
    "lip_thick": (0.035, 0.085),
    "beard": (-1.2, 0.9),  # below nought: none
    "freckles": (-1.0, 0.8),
}


def invent_people(rng, people):
    """Return people's features: {name: array (people,), or (people, 3) for a colour}."""

    def colour(palette, mix):
        first, second = np.array(palette, float)[rng.integers(len(palette), size=(2, people))]
        return first + rng.uniform(0, mix, (people, 1)) * (second - first)

    skin = colour(SKIN, 0.5)
    features = {
        "skin": skin,
        "lip": skin * [0.86, 0.58, 0.58] + rng.uniform(0, 30, (people, 1)) * [1, 0.1, 0.3],
        "hair": colour(HAIR, 0.4),
        "iris": colour(IRIS, 0.3),
    }
    for name, (low, high) in SHAPE.items():
        # Each takes a step of its own on the way from low to high, so no two are alike.
        step = (rng.permutation(people) + rng.uniform(0.1, 0.9, people)) / people
        features[name] = low + (high - low) * step
    return features


def draw(rng, features):
    """Draw one picture a row of `features`: uint8 (n, 55, 47, 3)."""
    picture = Picture(rng, features)
    picture.background()
    picture.hair_behind()
    picture.head()
    picture.eyes()
    picture.nose()
    picture.mouth()
    picture.hair_in_front()
    return picture.develop()


class Picture:
    """Pictures being painted; every method adds one part, drawing its chances from the generator."""

    def __init__(self, rng, features):
        self.rng, self.n = rng, len(features["width"])
        # Shaped to go with (n, height, width), colours with (n, height, width, 3).
        self.f = {name: value[:, None, None] for name, value in features.items()}
        roll, size = self.chance(0.05), 1 + self.chance(0.04)
        self.yaw, self.pitch = self.chance(0.16), self.chance(0.04)
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        self.pixels = SCALE * size  # to a face unit
        across = (columns - (WIDTH - 1) / 2 - self.chance(0.8)) / self.pixels
        down = (rows - 29 - self.chance(0.8)) / self.pixels
        self.x = across * np.cos(roll) + down * np.sin(roll)
        self.y = down * np.cos(roll) - across * np.sin(roll)
        self.smile, self.opened = self.chance(0.5), (0.75 + self.chance(0.22)).clip(0.3, 1.2)
        # A head is nearly an ellipsoid, lit from a side and a height of its own.
        self.light_x, light_y = self.chance(0.45), -0.25 + self.chance(0.25)
        across_head, down_head = (self.x / self.f["width"]).clip(-1, 1), self.y.clip(-1, 1)
        ahead = np.sqrt((1 - across_head**2 - down_head**2).clip(0.02, 1))
        light = across_head * self.light_x + down_head * light_y + ahead
        self.light = (light / np.sqrt(self.light_x**2 + light_y**2 + 1))[..., None]
        self.shade = 0.5 + 0.55 * self.light.clip(0, 1)
        self.image = np.empty((self.n, HEIGHT, WIDTH, 3))

    def chance(self, scale):
        return self.rng.normal(0, scale, self.n).clip(-2 * scale, 2 * scale)[:, None, None]

    def paint(self, colour, cover):
        self.image += (np.asarray(colour, float).clip(0, 255) - self.image) * cover[..., None]

    def inside(self, *distances):
        """Return the share of each pixel that is inside all shapes, given distances (negative inside)."""
        distance = distances[0] if len(distances) == 1 else np.maximum(*distances)
        return (0.5 - distance * self.pixels).clip(0, 1)

    def ellipse(self, x, y, half_width, half_height):
        """Return each pixel's distance from an ellipse."""
        radius = np.hypot((self.x - x) / half_width, (self.y - y) / half_height)
        return (radius - 1) * np.minimum(half_width, half_height)

    def turned(self, x, depth):
        """Return where a point x of the face is as the head turns; `depth` is how far it stands out."""
        return x * np.cos(self.yaw) + depth * 0.6 * np.sin(self.yaw)

    def background(self):
        one, other = self.rng.uniform(30, 225, (2, self.n, 1, 1, 1)) + self.rng.normal(
            0, 18, (2, self.n, 1, 1, 3)
        )
        slope = (self.x * self.chance(1) + self.y * self.chance(1)).clip(-1, 1)[..., None]
        self.image[:] = (one + other) / 2 + (one - other) / 2 * slope
        self.clothes = (0.35 * one + 0.4 * other[..., ::-1]).clip(10, 220)

    def hair_behind(self):
        f = self.f
        outline = self.ellipse(0, -0.12, f["width"] + 0.06 + f["hair_volume"], 1.02 + f["hair_volume"])
        self.paint(f["hair"] * (0.45 + 0.3 * self.light), self.inside(outline, self.y - f["hair_length"]))

    def head(self):
        f, skin = self.f, self.f["skin"] * self.shade
        self.paint(skin * 0.62, self.inside(np.abs(self.x) - f["width"] * 0.55, 0.5 - self.y))
        self.paint(self.clothes, self.inside(self.ellipse(0, 1.62, 1.15, 0.62)))
        for side in (-1, 1):
            ear = self.ellipse(side * f["width"] + 0.25 * np.sin(self.yaw), 0.0, 0.1, 0.19)
            self.paint(skin * 0.85, self.inside(ear))
        chin = np.where(self.y > 0.2, (self.y - 0.2) ** 2, 0)
        outline = self.ellipse(0, 0.02, f["width"] * (1 - chin * (1.05 - f["jaw"]) * 1.2), 1.0)
        face = self.inside(outline)
        self.paint(skin, face)
        cheeks = np.exp(
            -(((np.abs(self.x - self.turned(0, 1)) - 0.4) / 0.16) ** 2) - ((self.y - 0.26) / 0.14) ** 2
        )
        self.paint(skin * [1.0, 0.72, 0.7], 0.35 * cheeks * face)
        spots = np.sin(41 * self.x - 13 * self.y) * np.sin(37 * self.y + 17 * self.x) > 0.55
        spots = spots * (np.abs(self.y - 0.2) < 0.2) * self.inside(outline + 0.15)
        self.paint(f["skin"] * 0.6, 0.5 * f["freckles"].clip(0, 1) * spots)
        stubble = face * self.inside(0.36 + 0.25 * np.cos(self.x * 2.2) - self.y)
        self.paint(f["hair"] * 0.7 * self.shade, 0.75 * f["beard"].clip(0, 1) * stubble)

    def eyes(self):
        f, size = self.f, self.f["eye_size"]
        y = f["eye_height"] + self.pitch
        raised, gaze = self.chance(0.02), self.chance(0.025)
        for side in (-1, 1):
            x, narrow = self.turned(side * f["eye_gap"], 0.9), np.cos(self.yaw)
            socket = self.ellipse(x, y, size * 1.5 * narrow, size * 1.15)
            self.paint(f["skin"] * 0.68 * self.shade, 0.55 * self.inside(socket))
            eye = self.ellipse(x, y, size * 1.25 * narrow, size * 0.75 * self.opened)
            seen = self.inside(eye)
            self.paint(np.array([236, 234, 230]) * self.shade, seen)
            self.paint(f["iris"], seen * self.inside(self.ellipse(x + gaze, y, size * 0.62, size * 0.66)))
            self.paint([14, 12, 12], seen * self.inside(self.ellipse(x + gaze, y, size * 0.3, size * 0.3)))
            self.paint(f["skin"] * 0.3, 0.8 * self.inside(np.abs(eye) - 0.012, self.y - y))
            brow_y = y - f["brow_height"] - raised + f["brow_slant"] * side * (x - self.x)
            across = np.abs(self.x - x) - size * 1.6 * narrow
            self.paint(f["hair"] * 0.55, 0.9 * self.inside(np.abs(self.y - brow_y) - f["brow_thick"], across))

    def nose(self):
        """Paint a lit ridge, a side in shadow, the tip's underside and two nostrils."""
        f, skin = self.f, self.f["skin"] * self.shade
        root_y = f["eye_height"] + self.pitch
        tip_x, tip_y = self.turned(0, 1.25), root_y + f["nose_length"]
        along = ((self.y - root_y) / f["nose_length"]).clip(0, 1)
        root_x = self.turned(0, 0.95)
        off_ridge = self.x - (root_x + (tip_x - root_x) * along)
        half_width = f["nose_width"] * (0.35 + 0.65 * along)
        height = np.abs(self.y - (root_y + tip_y) / 2) - f["nose_length"] / 2
        in_shadow = off_ridge * np.sign(self.light_x) < 0
        self.paint(skin * 0.72, 0.55 * in_shadow * self.inside(height, np.abs(off_ridge) - half_width))
        self.paint(skin * 1.12, 0.6 * self.inside(height, np.abs(off_ridge) - 0.03))
        under = np.abs(self.ellipse(tip_x, tip_y, half_width, 0.06)) - 0.015
        self.paint(skin * 0.55, 0.7 * self.inside(under) * (self.y > tip_y - 0.02))
        for side in (-1, 1):
            nostril = self.ellipse(tip_x + side * half_width * 0.55, tip_y + 0.02, 0.035, 0.02)
            self.paint(f["skin"] * 0.3, 0.8 * self.inside(nostril))

    def mouth(self):
        """Paint lips that the smile bends, and teeth if they are open."""
        f = self.f
        x, half_width = self.turned(0, 1), f["mouth_width"] * np.cos(self.yaw) * (1 + 0.12 * self.smile)
        bend = ((self.x - x) / half_width) ** 2 * 0.07 * self.smile
        off_line = self.y - (f["mouth_height"] + self.pitch + 0.03 * self.smile - bend)
        gap = self.chance(0.035).clip(0, None)

        def lens(width, height):
            return (np.hypot((self.x - x) / width, off_line / height) - 1) * height

        self.paint(f["lip"] * self.shade, 0.9 * self.inside(lens(half_width, f["lip_thick"] + gap)))
        hole = lens(half_width * 0.85, gap + 0.012)
        self.paint([70, 28, 28], 0.85 * self.inside(hole))
        self.paint([235, 232, 225], 0.9 * self.inside(hole, off_line) * (gap > 0.02))

    def hair_in_front(self):
        f = self.f
        parted = 0.22 * (self.x / f["width"] - f["parting"]) ** 2
        fringe = f["hairline"] + parted - 0.1 * self.x * np.sin(self.yaw)
        crown = self.ellipse(0, -0.1, f["width"] + 0.05 + f["hair_volume"] / 2, 0.92 + f["hair_volume"])
        strands = 1 + 0.12 * np.sin(22 * self.x + 6 * self.y)[..., None]
        self.paint(f["hair"] * (0.5 + 0.5 * self.light) * strands, self.inside(crown, self.y - fringe))

    def develop(self):
        """Return the pictures as a camera takes them: exposure, tint, grain, whole numbers."""
        tint = 1 + self.chance(0.12)[..., None] + self.rng.normal(0, 0.02, (self.n, 1, 1, 3))
        grain = self.rng.normal(0, 4, self.image.shape)
        return (self.image * tint + grain).clip(0, 255).round().astype(np.uint8)

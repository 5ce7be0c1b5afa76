"""Pictures a little different each time they are shown: moved, turned, zoomed, lit in another way."""

import numpy as np

from goodnet.lazy import tf


def draw(rng, images, height, width, shift, turn, zoom, brightness, contrast):
    """Draw how each of so many images is changed; `changed` takes the result.

    Parameters
    ----------
    shift : float
        Up to this share of the height and width.
    turn : float
        Up to this share of a full turn.
    zoom, contrast : float
        By a factor up to this far from 1.
    brightness : float
        Up to this share of the range of values.
    """

    def up_to(most, *shape):
        return rng.uniform(-most, most, (images, *shape))

    angle, across, down = up_to(turn) * 2 * np.pi, 1 + up_to(zoom), 1 + up_to(zoom)
    x, y = (width - 1) / 2, (height - 1) / 2  # what is turned and zoomed about
    to_x, to_y = x + up_to(shift) * width, y + up_to(shift) * height
    warp = np.zeros((images, 8), np.float32)  # from a changed image's places to the image's own
    warp[:, 0], warp[:, 1] = np.cos(angle) / across, -np.sin(angle) / down
    warp[:, 3], warp[:, 4] = np.sin(angle) / across, np.cos(angle) / down
    warp[:, 2] = x - warp[:, 0] * to_x - warp[:, 1] * to_y
    warp[:, 5] = y - warp[:, 3] * to_x - warp[:, 4] * to_y
    light = up_to(brightness, 1, 1, 1).astype(np.float32)
    return warp, light, (1 + up_to(contrast, 1, 1, 1)).astype(np.float32)


def changed(images, warp, light, contrast):
    """Return the images changed as drawn, still within 0 to 255."""
    images = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=warp,
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return tf.clip_by_value((images - mean) * contrast + mean + light * 255.0, 0.0, 255.0)

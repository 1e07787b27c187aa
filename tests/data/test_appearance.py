"""Measures of how images look, against changes whose effect is known."""

import itertools

import cv2
import numpy as np
import pytest

from mgn.data.appearance import ALIKE, look_at, near_copies
from mgn.data.demo import draw_image


def scene(seed):
    small = np.random.default_rng(seed).integers(0, 256, (16, 8, 3), np.uint8)
    return cv2.resize(small, (64, 128), interpolation=cv2.INTER_CUBIC)


def bits_apart(first, second):
    return int(np.bitwise_count(look_at(first).hash ^ look_at(second).hash).sum())


def test_a_flat_image_by_hand():
    seen = look_at(np.full((30, 20, 3), 77, np.uint8))
    assert (seen.height, seen.width, seen.light, seen.sharpness) == (30, 20, 77.0, 0.0)
    assert seen.hash.tolist() == [0, 0]  # light grows nowhere
    grows = np.repeat(np.arange(0, 180, 2, np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    assert np.bitwise_count(look_at(grows).hash).tolist() == [64, 0]  # to the right, everywhere


def test_blur_and_darkness_order_images():
    image = scene(0)
    blurred = [cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (1, 2, 4)]
    sharpness = [look_at(made).sharpness for made in (image, *blurred)]
    assert sharpness == sorted(sharpness, reverse=True)
    detailed = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)
    light, dark = look_at(detailed), look_at(detailed // 4)
    assert dark.light == pytest.approx(light.light / 4, abs=1)
    assert dark.sharpness == pytest.approx(light.sharpness, rel=0.1)  # contrast does not count


def test_the_hash_stays_when_an_image_is_saved_again():
    for seed in range(10):
        image = scene(seed)
        again = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 1)
        smaller = cv2.resize(image, (50, 100), interpolation=cv2.INTER_AREA)
        lighter = np.clip(image.astype(int) + 10, 0, 255).astype(np.uint8)
        for changed in (again, smaller, lighter):
            assert bits_apart(image, changed) <= ALIKE


def test_pedestrians_are_told_apart():
    images = [draw_image(0, person, camera, 5) for person in range(12) for camera in (1, 2)]
    apart = [bits_apart(*pair) for pair in itertools.combinations(images, 2)]
    assert min(apart) > ALIKE


def test_near_copies_are_those_of_a_double_loop():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (150, 2)).astype(np.uint64)
    hashes[70] = hashes[3] ^ np.uint64(0b1011)
    hashes[149, 1] = hashes[2, 1]
    hashes[149, 0] = hashes[2, 0] ^ np.uint64(0xFF)
    hashes[140] = hashes[139]  # of one identity
    identities = np.arange(150)
    identities[140] = identities[139]
    expected = []
    for i, j in itertools.combinations(range(150), 2):
        apart = sum(
            (int(a) ^ int(b)).bit_count() for a, b in zip(hashes[i], hashes[j], strict=True)
        )
        if apart <= ALIKE and identities[i] != identities[j]:
            expected.append((apart, i, j))
    assert near_copies(hashes, identities, 9) == (sorted(expected), 2)
    assert sorted(expected) == [(6, 3, 70), (8, 2, 149)]
    assert near_copies(hashes, identities, 1) == ([(6, 3, 70)], 2)
    assert near_copies(hashes[:0], [], 9) == ([], 0)


def test_images_that_are_all_alike_are_counted_and_few_kept():
    found, total = near_copies(np.zeros((200, 2), np.uint64), np.arange(200) // 2, 5)
    assert total == 200 * 199 // 2 - 100 and found == [(0, 0, j) for j in range(2, 7)]

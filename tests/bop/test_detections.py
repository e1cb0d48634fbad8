"""Detections: boxes, and masks as run lengths in COCO's two spellings."""

import json

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest

from sldiff_jax import bop

MASK = np.zeros((5, 7), bool)
MASK[1:4, 2:6] = True
MASK[2, 3] = False


def columns(mask: np.ndarray) -> list[int]:
    """Run lengths column by column, background first: one pixel after the other."""
    counts, color = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if bool(mask[row, column]) != color:
                counts, color = [*counts, 0], not color
            counts[-1] += 1
    return counts


def text(counts: list[int]) -> str:
    """COCO's string, after the description of its format."""
    out = ""
    for place, count in enumerate(counts):
        value = count - (counts[place - 2] if place > 2 else 0)
        while True:
            group, value = value & 0x1F, value >> 5
            done = value == (-1 if group & 0x10 else 0)
            out += chr(group + (0 if done else 0x20) + 48)
            if done:
                break
    return out


def entry(**changed) -> dict:
    document = {"scene_id": 1, "image_id": 2, "category_id": 3, "score": 0.5, "bbox": [2, 1, 4, 3], "time": 0.1}
    return {key: value for key, value in (document | changed).items() if value is not None}


def read(tmp_path, *entries) -> list[bop.Detection]:
    (tmp_path / "detections.json").write_text(json.dumps(entries))
    return bop.read_detections(tmp_path / "detections.json")


def test_detections_come_back(tmp_path):
    detections = [
        bop.Detection(1, 2, 3, 0.5, (2.0, 1.0, 4.0, 3.0)),
        bop.Detection(1, 2, 17, 0.25, None, MASK, 0.5),
        bop.Detection(1, 3, 17, 0.25, (0.0, 0.0, 7.0, 5.0), ~MASK),
    ]
    bop.write_detections(tmp_path / "detections.json", detections)
    back = bop.read_detections(tmp_path / "detections.json")
    assert back[0] == detections[0]
    assert back[1].box == (2.0, 1.0, 4.0, 3.0) and back[1].time == 0.5 and back[1].object_id == 17
    np.testing.assert_array_equal(back[1].mask, MASK)
    np.testing.assert_array_equal(back[2].mask, ~MASK)


@hypothesis.given(hypothesis.extra.numpy.arrays(bool, hypothesis.extra.numpy.array_shapes(min_dims=2, max_dims=2)))
def test_masks_in_both_spellings(mask):
    from sldiff_jax.bop._rle import decode_mask, encode_mask

    assert encode_mask(mask) == {"counts": columns(mask), "size": list(mask.shape)}
    np.testing.assert_array_equal(decode_mask(columns(mask), mask.shape), mask)
    np.testing.assert_array_equal(decode_mask(text(columns(mask)), mask.shape), mask)


def test_long_runs_and_falling_ones_as_text(tmp_path):
    mask = np.zeros((300, 400), bool)
    mask[:, 200:202] = mask[17, 300] = mask[18:150, 301] = True
    segmentation = {"counts": text(columns(mask)), "size": [300, 400]}
    (found,) = read(tmp_path, entry(segmentation=segmentation, bbox=[]))
    np.testing.assert_array_equal(found.mask, mask)
    assert found.box is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bbox": None}, 'detection 0: expected a "bbox" or a "segmentation", got neither'),
        ({"bbox": [1, 2, 3]}, 'key "bbox": expected 4 finite numbers'),
        ({"bbox": [1, 2, 0, 3]}, "the latter two positive"),
        ({"category_id": "can"}, 'key "category_id": expected a whole number'),
        ({"score": None}, 'the key "score" is missing'),
        ({"segmentation": {"counts": [3, 4], "size": [5, 7]}}, "run lengths must fill 7x5 pixels, got a sum of 7"),
        ({"segmentation": {"size": [5, 7]}}, 'the key "counts" is missing'),
    ],
)
def test_deviations_are_named(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, entry(**changed))


def test_neither_box_nor_mask_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="needs a box, or a mask that is not empty"):
        bop.write_detections(tmp_path / "d.json", [bop.Detection(1, 2, 3, 0.5, None, np.zeros((2, 2), bool))])
    (tmp_path / "detections.json").write_text("{}")
    with pytest.raises(ValueError, match="expected a list of detections"):
        bop.read_detections(tmp_path / "detections.json")

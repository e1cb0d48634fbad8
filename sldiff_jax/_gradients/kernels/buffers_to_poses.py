# type: ignore -- Warp's language: annotations are calls, operators are its own
"""`backpropagate_gradient_to_poses` in one pass over the pixels of objects: see `accumulator` and `image_space`."""

import warp as wp

from ..threads import share
from .entry_point import entry_point

wp.set_module_options({"enable_backward": False, "fuse_fp": False, "fast_math": False})

NEIGHBOURS = wp.constant(9)  # a 3 x 3 window in row-major order, with the pixel itself as number 4


@wp.struct
class Shown:
    """What a rendering shows, (B, H, W): colour, object coordinates with depth, and labels, 0 for the background."""

    rgb: wp.array3d(dtype=wp.vec4ub)
    coord_depth: wp.array3d(dtype=wp.vec4)
    label: wp.array3d(dtype=wp.int16)


@wp.func
def label_at(shown: Shown, scene: int, row: int, column: int):
    """The label, that of the background outside of the image."""
    label = int(0)
    if row >= 0 and column >= 0 and row < shown.label.shape[1] and column < shown.label.shape[2]:
        label = int(shown.label[scene, row, column])
    return label


@wp.func
def is_uniform(shown: Shown, scene: int, row: int, column: int, label: int):
    """Whether a pixel and those above and below show one label."""
    if row < 1 or column >= shown.label.shape[2] or row + 1 >= shown.label.shape[1]:
        return False
    above = int(shown.label[scene, row - 1, column])
    middle = int(shown.label[scene, row, column])
    below = int(shown.label[scene, row + 1, column])
    return above == label and middle == label and below == label


@wp.func
def is_valid(shown: Shown, scene: int, row: int, column: int):
    """Whether no neighbour shows another, nearer object."""
    label = label_at(shown, scene, row, column)
    if label == 0:
        return True
    depth = shown.coord_depth[scene, row, column][3]
    for i in range(NEIGHBOURS):
        r = row + i // 3 - 1
        c = column + i % 3 - 1
        other = label_at(shown, scene, r, c)
        if other != 0 and other != label and shown.coord_depth[scene, r, c][3] < depth:
            return False
    return True


@wp.func
def borrows(shown: Shown, scene: int, row: int, column: int, lender: int, label: int):
    """Whether a pixel joins the object that its neighbour of that number shows, and borrows from that neighbour."""
    for later in range(lender + 1, NEIGHBOURS):
        if label_at(shown, scene, row + later // 3 - 1, column + later % 3 - 1) == label:
            return False
    valid = bool(True)
    for i in range(NEIGHBOURS):
        valid = valid and is_valid(shown, scene, row + i // 3 - 1, column + i % 3 - 1)
    return valid


@wp.func
def contrast(a: wp.vec4ub, b: wp.vec4ub):
    return wp.vec3(float(int(a[0]) - int(b[0])), float(int(a[1]) - int(b[1])), float(int(a[2]) - int(b[2])))


@wp.func
def pull_at(shown: Shown, cotangent: wp.array4d(dtype=float), scene: int, row: int, column: int):
    """Derivative of the objective by a pixel's motion along x and y, in NDC. Beyond the border, its colour goes on."""
    weight = wp.vec3(
        cotangent[scene, 0, row, column], cotangent[scene, 1, row, column], cotangent[scene, 2, row, column]
    )
    left = shown.rgb[scene, row, wp.max(column - 1, 0)]
    right = shown.rgb[scene, row, wp.min(column + 1, shown.rgb.shape[2] - 1)]
    above = shown.rgb[scene, wp.max(row - 1, 0), column]
    below = shown.rgb[scene, wp.min(row + 1, shown.rgb.shape[1] - 1), column]
    per_x = float(shown.rgb.shape[2]) / 1020.0
    per_y = float(shown.rgb.shape[1]) / 1020.0
    return wp.vec2(per_x * wp.dot(weight, contrast(left, right)), per_y * wp.dot(weight, contrast(above, below)))


@wp.func
def outline_pull(shown: Shown, cotangent: wp.array4d(dtype=float), scene: int, row: int, column: int):
    """The pull on a pixel with other labels about, and on those neighbours that borrow from it."""
    pull = wp.vec2(0.0, 0.0)
    if is_valid(shown, scene, row, column):
        pull = pull_at(shown, cotangent, scene, row, column)
    label = int(shown.label[scene, row, column])
    for i in range(NEIGHBOURS):
        r = row + i // 3 - 1
        c = column + i % 3 - 1
        is_inside = r >= 0 and c >= 0 and r < shown.label.shape[1] and c < shown.label.shape[2]
        # This pixel is its neighbour's neighbour on the other side.
        if is_inside and label_at(shown, scene, r, c) != label and borrows(shown, scene, r, c, 8 - i, label):
            pull += pull_at(shown, cotangent, scene, r, c)
    return pull


@wp.func
def next_object(labels: wp.array(dtype=wp.int16), words: wp.array(dtype=wp.uint64), column: int):
    """The first column from there on with a label above zero, the width if there is none."""
    width = labels.shape[0]
    while column < width and int(labels[column]) <= 0:
        column += 1
        if column % 4 == 0:
            word = column // 4
            while word < words.shape[0] and words[word] == wp.uint64(0):
                word += 1
            column = wp.max(column, 4 * word)
    return column


@wp.kernel
def accumulate_kernel(
    shown: Shown,
    cotangent: wp.array4d(dtype=float),
    T_clip_object: wp.array3d(dtype=wp.vec4),
    row_of_label: wp.array2d(dtype=wp.int32),
    words: wp.array3d(dtype=wp.uint64),
    first_row: int,
    sums: wp.array4d(dtype=wp.vec4),
):
    """One thread sums up a row of the image, run by run of pixels with one label.

    words: the labels by fours, to pass over the background, or none.
    """
    scene, band_row = wp.tid()
    row = first_row + band_row
    width = shown.label.shape[2]
    labels = shown.label[scene, row]
    column = next_object(labels, words[scene, row], 0)
    while column < width:
        label = int(labels[column])
        k = row_of_label[scene, label]
        of_scene = k < T_clip_object.shape[1]
        uniform = int(0)
        M_x = wp.vec4(0.0, 0.0, 0.0, 0.0)
        M_y = wp.vec4(0.0, 0.0, 0.0, 0.0)
        M_w = wp.vec4(0.0, 0.0, 0.0, 0.0)
        A_x = wp.vec4(0.0, 0.0, 0.0, 0.0)
        A_y = wp.vec4(0.0, 0.0, 0.0, 0.0)
        A_w = wp.vec4(0.0, 0.0, 0.0, 0.0)
        if of_scene:
            M_x = T_clip_object[scene, k, 0]
            M_y = T_clip_object[scene, k, 1]
            M_w = T_clip_object[scene, k, 3]
        while column < width and int(labels[column]) == label:
            if of_scene:
                # Columns up to the next that show this label alone, in this row and those beside it.
                uniform = wp.where(is_uniform(shown, scene, row, column + 1, label), uniform + 1, 0)
                pull = wp.vec2(0.0, 0.0)
                if uniform > 2:
                    pull = pull_at(shown, cotangent, scene, row, column)
                else:
                    pull = outline_pull(shown, cotangent, scene, row, column)
                point = shown.coord_depth[scene, row, column]
                point[3] = 1.0
                w = wp.dot(M_w, point)
                if w > 0.0:
                    pull = pull / w
                    x = wp.dot(M_x, point)
                    y = wp.dot(M_y, point)
                    A_x += pull[0] * point
                    A_y += pull[1] * point
                    A_w -= (pull[0] * x + pull[1] * y) / w * point
            column += 1
        if of_scene:
            sums[scene, row, k, 0] = sums[scene, row, k, 0] + A_x
            sums[scene, row, k, 1] = sums[scene, row, k, 1] + A_y
            sums[scene, row, k, 2] = sums[scene, row, k, 2] + A_w
        column = next_object(labels, words[scene, row], column)


@entry_point()
def accumulate(
    shown: Shown,
    cotangent: wp.array4d(dtype=float),
    T_clip_object: wp.array3d(dtype=wp.vec4),
    row_of_label: wp.array2d(dtype=wp.int32),
    sums: wp.array4d(dtype=wp.vec4),
):
    """Rows 0, 1 and 3 of the cotangent of every `T_clip_object` (B, N, 4), summed over the pixels of each row.

    cotangent: (B, 3, H, W). row_of_label: (B, labels), N and above for labels that the scene does not have. sums: (B,
    H, N, 3).
    """
    sums.zero_()
    scenes, height, width = shown.label.shape
    fours = width // 4 if width % 4 == 0 else 0
    words = wp.array(ptr=shown.label.ptr, dtype=wp.uint64, shape=(scenes, height, fours), device=sums.device)

    def band(first, end):
        inputs = [shown, cotangent, T_clip_object, row_of_label, words, first]
        wp.launch(accumulate_kernel, (scenes, end - first), inputs, [sums])

    share(height, band) if sums.device.is_cpu else band(0, height)

"""Frames as GIF and MP4."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ._colors import ColorPicture


def animation(frames: Sequence[ColorPicture], *, frames_per_second: float = 15.0, hold: float = 1.5) -> bytes:
    """A GIF that runs for ever.

    Args:
        frames: (H, W, 3) uint8 pictures of one size.
        frames_per_second: speed.
        hold: how long the last frame stays, seconds.

    Returns:
        The contents of a GIF file. All frames share one palette, and what does not change is stored once.

    Raises:
        ValueError: if there are no frames, their sizes differ, or the speed is not positive.
    """
    _check(frames, frames_per_second)
    sample = np.concatenate([frame[::2, ::2] for frame in frames])
    palette = Image.fromarray(sample).quantize(255, dither=Image.Dither.NONE)
    indexed = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    duration = [round(1000 / frames_per_second)] * (len(frames) - 1) + [round(1000 * hold)]
    file = io.BytesIO()
    indexed[0].save(file, "GIF", save_all=True, append_images=indexed[1:], duration=duration, loop=0)
    return file.getvalue()


def video(frames: Sequence[ColorPicture], *, frames_per_second: float = 15.0, hold: float = 1.5) -> bytes:
    """An MP4 (H.264) that every browser and slide program plays.

    Args:
        frames: (H, W, 3) uint8 pictures of one size. A side with an odd number of pixels gets one more, repeated.
        frames_per_second: speed.
        hold: how long the last frame stays, seconds.

    Returns:
        The contents of an MP4 file.

    Raises:
        ValueError: if there are no frames, their sizes differ, or the speed is not positive.
        RuntimeError: if there is no ffmpeg, or it fails; the message says why.
    """
    _check(frames, frames_per_second)
    height, width = frames[0].shape[:2]
    # H.264 halves the resolution of colour: sides must be even.
    even = [np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") for frame in frames]
    even += [even[-1]] * round(hold * frames_per_second)
    height, width = even[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "video.mp4"
        command = [
            _ffmpeg(), "-y", "-loglevel", "error",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(frames_per_second), "-i", "-",
            "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(output),
        ]  # fmt: skip
        done = subprocess.run(command, input=b"".join(frame.tobytes() for frame in even), capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"ffmpeg could not write the video: {done.stderr.decode(errors='replace').strip()}")
        return output.read_bytes()


def _check(frames: Sequence[ColorPicture], frames_per_second: float) -> None:
    shapes = [frame.shape for frame in frames]
    if len(set(shapes)) != 1 or any(frame.dtype != np.uint8 for frame in frames) or shapes[0][2:] != (3,):
        raise ValueError(f"An animation needs (height, width, 3) uint8 frames of one size, got {shapes}.")
    if not frames_per_second > 0:
        raise ValueError(f"frames_per_second must be positive, got {frames_per_second}.")


def _ffmpeg() -> str:
    """The program that the extra `video` brings, else the one of the system."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        found = shutil.which("ffmpeg")
    if found is None:
        raise RuntimeError("A video needs ffmpeg: pip install 'sldiff-jax[video]', or use `animation` for a GIF.")
    return found

"""The output folder: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ._errors import InputError


def check_output(folder: Path) -> None:
    """Raises an InputError if the folder cannot be written, before anything is computed."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file; a folder is expected.")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"--output {folder} cannot be made: {existing} is a file.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"--output {folder} cannot be written: no permission to write in {existing}.")


@contextlib.contextmanager
def staged(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A temporary folder, whose files move to the output in the end, if nothing was raised.

    Args:
        folder: the output. Files of these names in it are replaced, or removed if there is none this time; other
            files stay.
        names: the files that the command may write.

    Yields:
        The temporary folder, beside the output, or in it if that exists.

    Raises:
        InputError: if writing fails.
    """
    folder = folder.absolute()
    made: list[Path] = [path for path in folder.parents if not path.exists()]
    temporary: Path | None = None
    try:
        beside = folder if folder.is_dir() else folder.parent
        beside.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=beside))
        yield temporary
        folder.mkdir(exist_ok=True)
        for name in names:
            if (temporary / name).exists():
                os.replace(temporary / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        made = []
    except OSError as error:
        raise InputError(f"--output {folder} cannot be written: {error.strerror or error}.") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()

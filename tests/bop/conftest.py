"""Data sets for the tests: one written by hand, and the recorded one with what the field's toolkit says of it."""

import json
import pathlib
import shutil

import handmade
import pytest


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> pathlib.Path:
    return handmade.write(tmp_path_factory.mktemp("sets") / "rare")


@pytest.fixture
def rare(made_once, tmp_path) -> pathlib.Path:
    """A copy of the handmade data set, to be spoilt."""
    return pathlib.Path(shutil.copytree(made_once, tmp_path / "rare"))


@pytest.fixture(scope="session")
def tinya(shared_data) -> pathlib.Path:
    folder = shared_data / "bop_golden" / "tinya"
    if not folder.is_dir():
        pytest.skip(f"no recorded data set {folder}")
    return folder


@pytest.fixture(scope="session")
def expected(tinya) -> dict:
    """What the toolkit of the BOP challenge says about `tinya`."""
    return json.loads((tinya / "expected.json").read_text())

"""Runs notebooks and stores their outputs: ``python notebooks/execute.py`` for all, or name some.

``make notebooks`` runs them too, but stores nothing. What is written past Python, such as Warp's line about a missing
CUDA driver, goes to the terminal; neither times nor anything else of this machine is stored.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent


def main() -> None:
    """Runs them one after the other, each in its folder, with the kernel of this interpreter's environment."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(ROOT.glob("*.ipynb")):
        print(path.name)
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=600,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(path.parent)}},
            extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        )
        client.execute()
        notebook.metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number:02}"
            cell.metadata = {}
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()

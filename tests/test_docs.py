"""The documentation: every public name has an entry, code runs, menu, links and tables exist. mkdocs is not needed."""

import ast
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"


def load(name: str):
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages, hooks = load("pages"), load("hooks")


def exports(package: str) -> dict[str, str]:
    """Public names that an __init__ file binds, each with the module that it comes from; nothing is imported."""
    folder = REPOSITORY / package.replace(".", "/")
    stub = folder / "__init__.pyi"  # where names are imported on first use, it says which
    tree = ast.parse((stub if stub.is_file() else folder / "__init__.py").read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            module = f"{package}.{node.module}" if node.level else node.module
            found |= {alias.asname or alias.name: module for alias in node.names}
    return {name: module for name, module in found.items() if not name.startswith("_")}


def definitions(module: str) -> set[str]:
    """Public functions and classes that a module defines."""
    tree = ast.parse((REPOSITORY / f"{module.replace('.', '/')}.py").read_text())
    kinds = ast.FunctionDef | ast.ClassDef
    return {node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


ENTRIES = [
    entry
    for page in sorted((DOCS / "api").glob("*.md"))
    for entry in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
]


@pytest.mark.parametrize(
    "package",
    ["sldiff_jax", *(f"sldiff_jax.{name}" for name in ("bop", "mesh_renderer", "metrics", "visualize")), "interop"],
)
def test_every_public_name_has_an_entry(package):
    missing = []
    for name, module in exports(package).items():
        entries = (f"{package}.{name}", f"{module}.{name}")
        colour = name.isupper() and f"`{name}`" in (DOCS / "api" / "visualize.md").read_text()
        if not colour and not any(entry in ENTRIES for entry in entries):
            missing.append(f"{package}.{name}")
    assert not missing, f"add '::: NAME' to a page in docs/api for {missing}"


def test_every_public_function_of_interop_has_an_entry():
    modules = [f"interop.{path.stem}" for path in (REPOSITORY / "interop").glob("[a-z]*.py")]
    assert "interop.dlpack" in modules
    # The doctor's checks are lines of its report, and that is what its main function documents.
    names = [f"{module}.{name}" for module in modules if module != "interop.doctor" for name in definitions(module)]
    missing = sorted(set(names) - set(ENTRIES))
    assert not missing, f"add '::: NAME' to docs/api/interop.md for {missing}"


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_exists_and_is_documented(entry):
    parts = entry.split(".")
    package, name = ".".join(parts[:-1]), parts[-1]
    if not (REPOSITORY / package.replace(".", "/")).is_dir():
        assert name in definitions(package)
        return
    assert name in exports(package), f"{entry} is not public any more: take it out of docs/api"


def test_no_entry_appears_twice():
    assert sorted(set(ENTRIES)) == sorted(ENTRIES)


def test_the_menu_holds_every_page_and_no_other():
    menu = (REPOSITORY / "mkdocs.yml").read_text()
    listed = re.findall(r"^ +- (?:[^:\n]+: )?([\w/]+\.md)$", menu, re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_links_and_pictures_of_pages_exist():
    missing = []
    for page in DOCS.rglob("*.md"):
        # Links in code are none.
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target and not (page.parent / target).is_file():
                missing.append(f"{page.name}: {target}")
    assert not missing


def test_tables_of_the_readme_are_found():
    wanted = [match for page in DOCS.rglob("*.md") for match in hooks.TABLE_OF_README.findall(page.read_text())]
    assert wanted
    for heading in wanted:
        lines = hooks.readme_table(heading).splitlines()
        assert len(lines) > 3 and set(lines[1]) <= set("|-: ")
    with pytest.raises(ValueError, match="no table under a heading 'No such'"):
        hooks.readme_table("No such")


def test_formulas_become_mathml():
    pytest.importorskip("latex2mathml")

    class Page:
        class file:
            src_uri = "concepts/mathematics.md"

    html = 'a <span class="arithmatex">\\(x &lt; M_k\\)</span> <div class="arithmatex">\\[\\frac{a}{b}\\]</div>'
    shown = hooks.on_page_content(html, page=Page)
    assert shown.count("<math") == 2 and "<mfrac>" in shown and "arithmatex" not in shown
    Page.file.src_uri = "notebooks/01.ipynb"
    notebook = '<p>$M_k$ costs $5, <code>$a$</code></p><div class="clipboard-copy-txt">$b$</div>$$c$$<pre>$d$</pre>'
    shown = hooks.on_page_content(notebook + '<script src="https://x.org/m.js"></script>', page=Page)
    assert shown.count("<math") == 2
    assert all(kept in shown for kept in ("costs $5,", "<code>$a$</code>", ">$b$<", "<pre>$d$</pre>"))
    assert "x.org" not in shown


FAST = {"frames.md", "inputs.md", "reference_faults.md"}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=[] if page.name in FAST else [pytest.mark.slow]) for page in pages.pages()],
)
def test_the_code_on_a_page_runs(page, tmp_path):
    code = f"import pathlib, sys; sys.path.insert(0, {str(DOCS)!r}); import pages; "
    code += f"pages.run(pathlib.Path({str(page)!r}), pathlib.Path({str(tmp_path)!r}))"
    # In a process of its own, as a reader runs it: without the type checks that tests install.
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = set(re.findall(r"savefig\(\"([^\"]+)\"", page.read_text()))
    assert shown <= {path.name for path in tmp_path.iterdir()}


def test_errors_name_the_line_of_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```python\nx = 1\n```\n\n```py\nnot python at all\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError) as caught:
        pages.run(page, tmp_path)
    assert caught.traceback[-1].lineno + 1 == 12

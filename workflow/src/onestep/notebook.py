"""Notebooks as pages: executed by papermill, turned to HTML, the same bytes each time."""

import asyncio
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from onestep.errors import Mistake
from onestep.provenance import certificate, write_certificate, write_text


def render(notebook: Path, results: Path, inputs: Sequence[Path], out: Path) -> None:
    """Executes a notebook with the parameters `results` (the folder of a scale) and `records` (the record files among the inputs) and
    writes it as a page, code and output."""
    # jupyter's event loops warn about each other on import; nothing of it concerns the page.
    warnings.filterwarnings("ignore")
    import nbformat
    import papermill
    from nbconvert import HTMLExporter

    if not notebook.is_file():
        raise Mistake(f"{notebook}: no such notebook; name one of workflow/notebooks/")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    asyncio.set_event_loop(asyncio.new_event_loop())
    parameters = {"results": str(results), "records": [str(path) for path in inputs if path.suffix == ".parquet"]}
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / notebook.name
        try:
            papermill.execute_notebook(str(notebook), str(executed), parameters, progress_bar=False, kernel_name="python3")
        except papermill.PapermillExecutionError as error:
            raise Mistake(
                f"{notebook}: cell {error.cell_index} failed ({error.ename}: {error.evalue}); open it and run that cell"
            ) from None
        document = nbformat.read(executed, as_version=4)  # type: ignore[no-untyped-call]
    document.metadata.pop("papermill", None)
    kept = []
    for number, cell in enumerate(document.cells):
        cell.id = f"cell-{number}"  # random in a fresh notebook
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "parameters" not in cell.metadata.get("tags", []):  # the defaults, which the cell behind replaces
            kept.append(cell)
    document.cells = kept
    title = document.metadata.get("title", notebook.stem)
    exporter = HTMLExporter(template_name="lab", embed_images=True)  # type: ignore[no-untyped-call]
    page, _ = exporter.from_notebook_node(document, {"metadata": {"name": title}})
    write_text(out, page)
    write_certificate(out, certificate(parameters={"results": str(results)}, modules=[__name__], inputs=[notebook, *inputs]))

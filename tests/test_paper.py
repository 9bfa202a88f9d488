"""The paper is the same bytes for the same run, says what the run says, and fails in one line."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from onestep import claims
from onestep.data.prepare import prepare
from onestep.data_report import draw as draw_data
from onestep.errors import Mistake
from onestep.paper import typeset
from onestep.provenance import certificate, write_certificate, write_text
from onestep.singlestep import claims as judging
from onestep.singlestep import experiment

SOURCE = Path(__file__).parent.parent / "report" / "paper.typ"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny run: every experiment and table of singlestep, its figures as empty pictures, and a stand-in for a data set."""
    results = tmp_path_factory.mktemp("run") / "results"
    folder = results / "smoke/records/singlestep"
    files: dict[str, list[Path]] = {name: [] for name in ("sample", "universal", "fixed", "variants", "hessian", "bracket", "limit")}

    def new(kind: str, *name: object) -> Path:
        files[kind].append(folder.joinpath(kind, *map(str, name), "from-0.parquet"))
        return files[kind][-1]

    dims, cap = [10, 60], 20.0
    for width, networks in ((10, 8), (60, 8), (10_000, 2)):
        for depth in (1, 2):
            experiment.sample(
                depth, width, dims, 0, networks, 2 if networks > 2 else 1, 1, cap, "cpu", new("sample", f"depth-{depth}", f"width-{width}")
            )
    for width in (10, 60):
        experiment.universal(width, dims, 0, 8, 2, 4.0, 1, cap, "cpu", new("universal", f"width-{width}"))
        experiment.fixed(width, dims, 0, 8, 1, [0.25, 1.0, 5.0], 1, "cpu", new("fixed", "relu", f"width-{width}"))
    for name in ("tanh", "softplus", "gelu"):
        experiment.fixed(60, dims, 0, 8, 1, [0.25, 1.0, 5.0], 1, "cpu", new("fixed", name, "width-60"), name)
        experiment.hessian(name, [1, 10], [10, 20], 0, 4, 1, "cpu", new("hessian", name))
    for name in experiment.VARIANTS:
        experiment.variants(name, 60, dims, 0, 8, 2, 1, cap, "cpu", new("variants", name, "width-60"))
    experiment.bracket(30, [10], 0, 2, 1, cap, new("bracket", "width-30"))
    experiment.limit(dims, 100, 1, cap, new("limit"))
    ledger, tables = results / "smoke/claims.json", results / "smoke/tables/singlestep"
    judging.assess(files, [0.3, 0.5], 1.0, "laptop", 1, tables, ledger)
    for caption in (SOURCE.parent / "captions/singlestep").glob("*.rst"):
        picture = results / f"smoke/figures/singlestep/{caption.stem}.svg"
        write_text(picture, '<svg xmlns="http://www.w3.org/2000/svg" width="480" height="100"/>')
        write_certificate(picture, certificate(parameters={}, modules=["onestep.singlestep.claims"]))
    dataset = results / "data/mnist-0-1/images.safetensors"
    prepare("mnist-0-1", "mnist", ["0"], ["1"], "embedded", None, dataset)
    draw_data([dataset], results / "smoke/figures/data/datasets.svg", results / "smoke/tables/data/datasets.csv")
    return {
        "ledger": ledger,
        "tables": sorted(tables.glob("*.csv")),
        "figures": sorted(results.glob("smoke/figures/*/*.svg")),
        "datasets": [dataset],
        "records": [file for kind in files.values() for file in kind],
    }


@pytest.fixture(scope="module")
def paper(run: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paper") / "paper.pdf"
    typeset(SOURCE, **run, out=out)
    return out


def said(run: dict[str, Any], source: Path) -> str:
    """What Typst stops with."""
    with pytest.raises(Mistake) as stopped:
        typeset(source, **run, out=source.with_suffix(".pdf"))
    assert not source.with_suffix(".pdf").exists()
    return str(stopped.value).replace("\u00a0", " ")


def value_of(run: dict[str, Any], folder: Path, expression: str) -> str:
    """The value of an expression of the paper's own functions."""
    functions = SOURCE.read_text().partition("// ---------------------------------------------------------------- the page")[0]
    (folder / "probe.typ").write_text(f"{functions}\n#panic({expression})\n")
    return said(run, folder / "probe.typ")


def pages_that_say(run: dict[str, Any], folder: Path, words: str) -> str:
    """The pages of the typeset paper on which the words stand, as `(1, 2)`."""
    shutil.copytree(SOURCE.parent, folder / "report", dirs_exist_ok=True)
    probe = folder / "report" / "probe.typ"
    mark = f'#show "{words}": it => it + context [#metadata(here().page()) <said>]\n'
    probe.write_text(mark + SOURCE.read_text() + "\n#context panic(query(<said>).map(mark => mark.value).dedup())\n")
    return said(run, probe).partition("panicked with: ")[2].partition(" (at")[0]


def test_twice_the_same_bytes_wherever_it_is_written(run: dict[str, Any], paper: Path, tmp_path: Path) -> None:
    typeset(SOURCE, **run, out=tmp_path / "elsewhere" / "again.pdf")
    assert (tmp_path / "elsewhere" / "again.pdf").read_bytes() == paper.read_bytes()
    born = json.loads(paper.with_name("paper.pdf.json").read_text())
    assert str(SOURCE) in born["inputs"]
    assert {str(path) for path in [run["ledger"], *run["tables"], *run["figures"], *run["datasets"], *run["records"]]} <= set(
        born["inputs"]
    )
    assert b"CreationDate" not in paper.read_bytes()
    assert born["git"]["commit"] is None or born["git"]["commit"].encode() not in paper.read_bytes()


def test_another_number_is_another_paper(run: dict[str, Any], paper: Path, tmp_path: Path) -> None:
    ledger = json.loads(run["ledger"].read_text())
    ledger["claims"][0] |= {"measured": 0.123, "interval": [0.11, 0.14], "verdict": "fails"}
    changed = tmp_path / "claims.json"
    changed.write_text(json.dumps(ledger))
    typeset(SOURCE, **run | {"ledger": changed}, out=tmp_path / "paper.pdf")
    assert (tmp_path / "paper.pdf").read_bytes() != paper.read_bytes()
    assert pages_that_say(run, tmp_path, "12.3%") == "()"
    assert pages_that_say(run | {"ledger": changed}, tmp_path, "12.3%") != "()"


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("num(1234.5)", "1,235"),
        ("num(0.99996)", "0.99996"),
        ("num(-0.0123456)", "−0.0123"),
        ("num(2.4e-7)", "2.4 × 10⁻⁷"),
        ("given(1e-12)", "10⁻¹²"),
        ("num(float.inf)", "∞"),
        ("num(none)", "–"),
        ("percent(1.0)", "100%"),
        ("percent(0.99996)", "99.996%"),
        ("percent(0.5)", "50.0%"),
        ("with-interval(0.02, -0.004, 0.0444, num).first()", "0.0200"),
        ("with-interval(0.02, -0.004, 0.0444, num).last()", "[−0.0040, 0.0444]"),
        ('pretty("sqrt(d) ||delta|| >= 2 +-0.05, beta, ||grad f||^2 - 1")', "√d ‖δ‖ ≥ 2 ±0.05, beta, ‖∇f‖² − 1"),
        ('pretty("32/c_psi^2, max |psi\'|, C3")', "32/c_ψ², max |ψ'|, C₃"),
    ],
)
def test_numbers_as_people_write_them(run: dict[str, Any], tmp_path: Path, expression: str, written: str) -> None:
    assert written in value_of(run, tmp_path, expression)


def test_stand_ins_are_named_on_the_first_page(run: dict[str, Any], tmp_path: Path) -> None:
    assert pages_that_say(run, tmp_path, "STAND-IN DATA") == "(1,)"
    assert pages_that_say(run, tmp_path, "STAND-IN for MNIST 0 versus 1").startswith("(1,")
    assert pages_that_say(run, tmp_path, "random inputs") != "()"
    assert pages_that_say(run | {"datasets": []}, tmp_path, "STAND-IN") == "()"


def test_errors_of_the_source_are_one_line_and_leave_no_paper(run: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "broken.typ"
    source.write_text("fine\n\n#no-such-thing\n")
    with pytest.raises(Mistake, match=r"broken\.typ: Typst stops: unknown variable: no-such-thing.*at broken\.typ:3:1") as stopped:
        typeset(source, **run, out=tmp_path / "paper.pdf")
    assert "\n" not in str(stopped.value)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.typ"]


def test_missing_files_are_named(run: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"paper\.typ: no such file"):
        typeset(tmp_path / "paper.typ", **run, out=tmp_path / "paper.pdf")
    with pytest.raises(Mistake, match=r"gone\.csv: no such file"):
        typeset(SOURCE, **run | {"tables": [tmp_path / "gone.csv"]}, out=tmp_path / "paper.pdf")
    with pytest.raises(Mistake, match=r"records/PAPER/EXPERIMENT"):
        typeset(SOURCE, **run | {"records": [shutil.copy(run["records"][0], tmp_path / "stray.parquet")]}, out=tmp_path / "paper.pdf")
    with pytest.raises(Mistake, match=r"no record files"):
        typeset(SOURCE, **run | {"records": []}, out=tmp_path / "paper.pdf")
    without = [path for path in run["figures"] if path.stem != "law"]
    with pytest.raises(Mistake, match=r"law"):
        typeset(SOURCE, **run | {"figures": without}, out=tmp_path / "paper.pdf")


def test_one_scale_for_the_whole_paper(run: dict[str, Any], tmp_path: Path) -> None:
    ledger = json.loads(run["ledger"].read_text())
    ledger["claims"][0]["scale"] = "paper"
    changed = tmp_path / "claims.json"
    changed.write_text(json.dumps(ledger))
    with pytest.raises(Mistake, match="the scale must be one"):
        typeset(SOURCE, **run | {"ledger": changed}, out=tmp_path / "paper.pdf")


def test_verdicts_are_never_typed_but_read(run: dict[str, Any], tmp_path: Path) -> None:
    """Each verdict makes another paper; a ledger without claims that the text quotes does not stop it."""
    ledger = json.loads(run["ledger"].read_text())
    ledger["claims"] = ledger["claims"][:7]
    papers = set()
    for verdict in claims.VERDICTS:
        ledger["claims"][3]["verdict"] = verdict
        changed = tmp_path / "claims.json"
        changed.write_text(json.dumps(ledger))
        typeset(SOURCE, **run | {"ledger": changed}, out=tmp_path / "paper.pdf")
        papers.add((tmp_path / "paper.pdf").read_bytes())
    assert len(papers) == 5


def test_samples_that_did_not_switch_are_listed_one_by_one(run: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run["tables"][0].parent, tmp_path / "singlestep"))
    tables = sorted(folder.glob("*.csv"))
    exceptions = folder / "exceptions.csv"
    head = exceptions.read_text().splitlines()[0]
    exceptions.write_text(f"{head}\n" + "".join(f"1,60,60,he,{n},1,-0.5,{0 if n else 0.7},,dead\n" for n in range(50)))
    assert pages_that_say(run | {"tables": tables}, tmp_path, "50 did not switch") != "()"
    assert pages_that_say(run | {"tables": tables}, tmp_path, "the first 40 of them") != "()"


def test_captions_are_plain_sentences_for_both_readers() -> None:
    docutils = pytest.importorskip("docutils.core")
    captions = sorted((SOURCE.parent / "captions").glob("**/*.rst"))
    assert captions
    for path in captions:
        text = path.read_text()
        tree = docutils.publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 2})
        assert [node.tagname for node in tree.children] == ["paragraph"], path
        assert [child.tagname for child in tree.children[0].children] == ["#text"], path
        assert not re.search(r"[{}#$*_`|]", text), path
        assert 2 <= len(re.findall(r"[.](?:\s|$)", text)) <= 5, path


def test_the_paper_says_how_networks_were_held_and_which_cells_have_few(run: dict[str, Any], tmp_path: Path) -> None:
    assert pages_that_say(run, tmp_path, "never formed") != "()"
    assert pages_that_say(run, tmp_path, "there are only a few networks") != "()"
    sample = "facts.experiments.singlestep.sample"
    # Two depths and two dimensions: 8 networks of two widths with 2 inputs each, and 2 networks of one width with one.
    assert value_of(run, tmp_path, f"{sample}.rays").startswith(f"{tmp_path}/probe.typ: Typst stops: panicked with: {4 * (2 * 8 * 2 + 2)} ")
    assert "10000" in value_of(run, tmp_path, f'{sample}.held.filter(group => group.how.ends-with("float32")).first().widths')

"""The configuration: what is refused, in which words, and that the schema is the one the code would generate."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from onestep.config import Config, schema, validate
from onestep.errors import Mistake

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def values() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text()))


def test_the_shipped_configuration_is_valid(values: dict[str, Any]) -> None:
    assert validate(values).scale == "laptop"


def test_the_committed_schema_is_the_generated_one() -> None:
    committed = (ROOT / "workflow/schemas/config.schema.yaml").read_text()
    assert committed == schema(), "run: onestep schema > workflow/schemas/config.schema.yaml"


def test_every_field_has_a_description() -> None:
    generated = Config.model_json_schema()
    models = {"Config": generated, **generated["$defs"]}
    bare = [
        f"{name}.{field}" for name, model in models.items() for field, what in model["properties"].items() if not what.get("description")
    ]
    assert bare == []


def test_laptop_and_paper_have_the_same_cells(values: dict[str, Any]) -> None:
    scales = values["singlestep"]["scales"]
    for axis in ("depths", "widths", "input_dims"):
        assert scales["laptop"][axis] == scales["paper"][axis]


def _set(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for key in parents:
            values = values[key]
        values[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("scale", "huge", ["scale", "'smoke', 'laptop' or 'paper'", "'huge'"]),
        ("sead", 1, ["sead", "unknown key"]),
        ("singlestep/step_cup", 1, ["singlestep/step_cup", "unknown key"]),
        ("seed", "7", ["seed", "integer", "'7'"]),
        ("seed", -1, ["seed", "greater than or equal to 0"]),
        ("device", "gpu", ["device", "'gpu'"]),
        ("data_source", "internet", ["data_source", "'embedded'"]),
        ("datasets/mnist-0-1/negative", ["11"], ["datasets/mnist-0-1", "no class '11'"]),
        ("datasets/mnist-0-1/positive", ["0"], ["datasets/mnist-0-1", "both sides"]),
        ("singlestep/scales/laptop/widths", [100, 10], ["widths", "ascending"]),
        ("singlestep/scales/laptop/widths", [0], ["widths/0", "greater than or equal to 1"]),
        ("singlestep/scales/laptop/networks", 2.5, ["networks", "integer"]),
        ("singlestep/gammas", [1.5], ["gammas/0", "less than 1"]),
        ("singlestep", None, ["singlestep"]),
        ("singlestep/step_cap", float("inf"), ["singlestep/step_cap", "finite"]),
        ("guarantees/scales/smoke/trained/mnist-3-8", {}, ["guarantees/scales/smoke/trained/mnist-3-8/networks", "missing"]),
        ("guarantees/scales/laptop/theorem_sides", [7], ["guarantees/scales/laptop/theorem_sides/0", "multiple of 2"]),
        ("guarantees/scales/laptop/sides", [3], ["guarantees/scales/laptop/sides/0", "greater than or equal to 4"]),
        ("guarantees/scales/paper/trained/mnist-odd-even/filters", 1.5, ["trained/mnist-odd-even/filters", "less than or equal to 1"]),
        ("guarantees/deltas", [0.3, 1.0], ["guarantees/deltas/1", "less than 1"]),
        ("singlestep/scales/laptop/depths", [2, 3], ["singlestep/scales/laptop", "depths must contain 1"]),
    ],
)
def test_a_mistake_is_one_line_with_the_key_and_what_to_do(values: dict[str, Any], path: str, value: object, says: list[str]) -> None:
    _set(path, value)(values)
    with pytest.raises(Mistake) as caught:
        validate(values)
    message = str(caught.value)
    assert "\n" not in message
    for words in ["config.yaml", *says]:
        assert words in message


def test_a_missing_key_is_named(values: dict[str, Any]) -> None:
    del values["singlestep"]["scales"]["paper"]["inputs"]
    with pytest.raises(Mistake, match=r"singlestep/scales/paper/inputs: this key is missing"):
        validate(values)


def test_networks_are_trained_on_data_sets_that_there_are(values: dict[str, Any]) -> None:
    trained = values["guarantees"]["scales"]["smoke"]["trained"]
    trained["mnist-3-8"] = trained["mnist-odd-even"]
    with pytest.raises(Mistake) as caught:
        validate(values)
    message = str(caught.value)
    assert "\n" not in message
    assert "guarantees/scales/smoke/trained: there is no data set 'mnist-3-8'" in message
    assert "name one of mnist-0-1, mnist-odd-even, cifar10-groups" in message


def test_laptop_has_every_published_side_of_random_residual_networks(values: dict[str, Any]) -> None:
    scales = values["guarantees"]["scales"]
    assert scales["laptop"]["sides"] == scales["paper"]["sides"] == list(range(12, 61, 4))
    assert scales["laptop"]["supplement_sides"] == scales["paper"]["supplement_sides"] == list(range(16, 57, 8))


def test_the_conda_environment_has_the_locked_versions() -> None:
    lock = set((ROOT / "envs/requirements.lock").read_text().split())
    pinned = next(
        entry["pip"] for entry in yaml.safe_load((ROOT / "envs/onestep.yaml").read_text())["dependencies"] if isinstance(entry, dict)
    )
    assert set(pinned) <= lock
    assert not any("+" in version for version in lock)


def test_the_readme_has_measured_figures_and_existing_names() -> None:
    text = (ROOT / "README.md").read_text()
    table = text.split("| command |")[1].split("\n\n")[0]
    assert all(
        any(digit.isdigit() for digit in cell) or "the same" in cell for row in table.splitlines()[2:] for cell in row.split("|")[2:-1]
    )
    for name in (
        "Snakefile",
        "config.yaml",
        "Makefile",
        "profiles/default/profile.yaml",
        "CITATION.cff",
        "workflow/src/onestep/attacks/ray.py",
    ):
        assert name in text
        assert (ROOT / name).exists()

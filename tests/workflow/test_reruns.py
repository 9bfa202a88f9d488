"""What an edit reruns: the stages that can see it, what follows from them, and nothing else."""

from collections.abc import Callable

import pytest

from ..checkout import Smoke

pytestmark = pytest.mark.workflow

PAPER = {"all", "typeset", "html", "latest"}
WIDTHS = {"singlestep_sample", "singlestep_universal", "singlestep_fixed"}
EXPERIMENTS = WIDTHS | {"singlestep_variants", "singlestep_hessian", "singlestep_bracket", "singlestep_limit"}
AFTER = {"singlestep_claims", "singlestep_figures", "singlestep_notebook", "claims"}
MULTILAYER_SEARCHES = {"multilayer_flip", "multilayer_ball"}
MULTILAYER_DEEP = {"multilayer_collapse", "multilayer_scan", "multilayer_limit"}
# Trained weights are not kept: what looks at them again trains them again.
LAZY = {"lazy_train", "lazy_attack", "lazy_bracket", "lazy_journey"}
LAZY_IMAGES = {"lazy_adversarial", "lazy_check", "lazy_ball"}
LAZY_AFTER = {"lazy_claims", "lazy_figures", "lazy_notebook", "claims"}
GUARANTEES_TRAINED = {"guarantees_attack", "guarantees_examples"}
GUARANTEES_RANDOM = {f"guarantees_{name}" for name in ("sample", "search", "rays", "law", "kernels")}
GUARANTEES_AFTER = {"guarantees_claims", "guarantees_figures", "guarantees_notebook", "claims"}
MULTILAYER_AFTER = {"multilayer_claims", "multilayer_figures", "multilayer_notebook", "claims"}


def reruns(smoke: Smoke, name: str, change: Callable[[str], str]) -> dict[str, int]:
    undo = smoke.checkout.edit(name, change)
    try:
        return smoke.checkout.would_run()
    finally:
        undo()


def test_a_comment_or_another_layout_reruns_nothing(smoke: Smoke) -> None:
    package = "workflow/src/onestep"
    assert reruns(smoke, f"{package}/attacks/ray.py", lambda text: f"# A comment.\n\n\n{text}\n\n# Another.\n") == {}
    assert reruns(smoke, f"{package}/singlestep/claims.py", lambda text: text.replace("scale: str", "scale:   str")) == {}


def test_a_mere_touch_reruns_nothing(smoke: Smoke) -> None:
    for name in ("workflow/src/onestep/attacks/ray.py", "report/paper.typ", "config.yaml", "workflow/notebooks/singlestep.ipynb"):
        (smoke.checkout.folder / name).touch()
    assert smoke.checkout.would_run() == {}


def test_an_edit_of_the_ray_search_reruns_its_experiments_and_what_follows(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/attacks/ray.py", lambda text: text.replace("AIM = 0.7", "AIM = 0.6"))
    assert rerun.keys() == EXPERIMENTS | AFTER | MULTILAYER_SEARCHES | MULTILAYER_AFTER | LAZY | LAZY_AFTER | PAPER
    assert {name.removeprefix("singlestep_"): rerun[name] for name in EXPERIMENTS} == {
        "sample": 9,
        "universal": 2,
        "fixed": 5,
        "variants": 5,
        "hessian": 3,
        "bracket": 2,
        "limit": 1,
    }


def test_an_edit_of_the_figures_redraws_and_typesets(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/singlestep/figures.py", lambda text: text.replace('"width k:"', '"width:"'))
    assert rerun.keys() == {"singlestep_figures"} | PAPER


def test_an_edit_of_the_claims_judges_again(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/singlestep/claims.py", lambda text: text.replace("(0.995, 1.0)", "(0.99, 1.0)"))
    assert rerun.keys() == {"singlestep_claims", "singlestep_notebook", "claims"} | PAPER


def test_an_edit_of_the_very_deep_networks_leaves_the_other_experiments_alone(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/multilayer/deep.py", lambda text: text.replace("GAIN = 2.0", "GAIN = 2.5"))
    assert rerun.keys() == MULTILAYER_DEEP | MULTILAYER_AFTER | PAPER
    assert {name: rerun[name] for name in MULTILAYER_DEEP} == {"multilayer_collapse": 2, "multilayer_scan": 2, "multilayer_limit": 1}


def test_an_edit_of_the_papers_text_typesets_only(smoke: Smoke) -> None:
    assert reruns(smoke, "report/paper.typ", lambda text: text + "\nA last word.\n").keys() == PAPER


def test_an_edit_of_the_image_code_leaves_the_experiments_on_random_inputs_alone(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/data/binary.py", lambda text: text + "\nUNUSED = 1\n")
    trained = {"guarantees_train"} | GUARANTEES_TRAINED | GUARANTEES_AFTER
    assert rerun.keys() == {"prepare", "data"} | LAZY | LAZY_IMAGES | LAZY_AFTER | trained | PAPER


def test_an_edit_of_the_training_leaves_the_other_papers_alone(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/training/near_init.py", lambda text: text.replace("BLOCK = 128", "BLOCK = 64"))
    assert rerun.keys() == LAZY | LAZY_AFTER | PAPER


def test_an_edit_of_the_second_search_searches_again_and_leaves_what_it_checks(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/attacks/search.py", lambda text: text.replace("DISTURBANCE = 0.5", "DISTURBANCE = 0.4"))
    assert rerun.keys() == {"guarantees_search"} | GUARANTEES_AFTER | PAPER
    assert rerun["guarantees_search"] == 2


def test_an_edit_of_the_projections_samples_again_whatever_is_attacked_by_them_and_trains_nothing(smoke: Smoke) -> None:
    rerun = reruns(smoke, "workflow/src/onestep/attacks/projection.py", lambda text: text.replace("PRECISION = 1e-12", "PRECISION = 1e-11"))
    # The other papers' steps stand beside the smallest distances.
    others = EXPERIMENTS - {"singlestep_universal"} | AFTER | LAZY | LAZY_AFTER
    assert rerun.keys() - {"singlestep_universal"} == others | GUARANTEES_RANDOM | GUARANTEES_TRAINED | GUARANTEES_AFTER | PAPER
    assert rerun["guarantees_sample"] == 2 + 3 * 2 + 2  # architectures and sides


def test_other_rays_run_again_alone(smoke: Smoke) -> None:
    rerun = reruns(smoke, "config.yaml", lambda text: text.replace("ray_networks: 2\n", "ray_networks: 3\n", 1))
    assert rerun.keys() == {"guarantees_rays"} | GUARANTEES_AFTER | PAPER
    assert rerun["guarantees_rays"] == 2 + 2


def test_one_more_trained_network_is_trained_and_attacked(smoke: Smoke) -> None:
    data = "mnist-odd-even: {networks: 2, filters: 0.125, images: 100, test_images: 100, epochs: 3"
    rerun = reruns(smoke, "config.yaml", lambda text: text.replace(data, data.replace("networks: 2", "networks: 3"), 1))
    assert rerun.keys() == {"guarantees_train", "guarantees_attack"} | GUARANTEES_AFTER | PAPER
    assert (rerun["guarantees_train"], rerun["guarantees_attack"]) == (1, 1)


def test_one_more_width_runs_that_width_and_what_follows(smoke: Smoke) -> None:
    rerun = reruns(smoke, "config.yaml", lambda text: text.replace("widths: [10, 100]", "widths: [10, 50, 100]"))
    assert rerun.keys() == WIDTHS | AFTER | PAPER
    assert {name: rerun[name] for name in WIDTHS} == {"singlestep_sample": 3, "singlestep_universal": 1, "singlestep_fixed": 1}


def test_another_value_of_the_theory_reruns_only_its_judgement(smoke: Smoke) -> None:
    rerun = reruns(smoke, "config.yaml", lambda text: text.replace("gammas: [0.01, 0.03, 0.1, 0.3]", "gammas: [0.1, 0.3]"))
    assert rerun.keys() == {"singlestep_claims", "singlestep_notebook", "claims"} | PAPER

"""Runs as text, and --set."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import ganvas
from ganvas import methods, recipes
from ganvas.core import Clock, config, registry
from ganvas.core.errors import ConfigError, UserError
from ganvas.core.schedules import HalfLife, LinearDecay, StepDecay


def test_set_reaches_every_kind_of_node() -> None:
    run = recipes.find("cyclegan")(100)
    for assignment in (
        "batch=4",
        "G.width=32",
        "optim.D.lr=1e-4",
        "lr.start=5",
        "cycle_weight=3",
        "data.size=[64,96]",
    ):
        run = config.override(run, assignment)
    assert isinstance(run.method, partial)
    assert isinstance(run.data, partial)
    assert isinstance(run.lr, LinearDecay)
    assert (run.batch, run.method.keywords["G"].keywords["width"], run.lr.start) == (4, 32, 5)
    D, G = run.optim["D"], run.optim["G"]
    assert isinstance(D, partial)
    assert isinstance(G, partial)
    assert D.keywords["lr"] == 1e-4
    assert G.keywords["lr"] == 2e-4, "one player's number is not the other's"
    assert run.method.keywords["cycle_weight"] == 3.0
    assert run.data.keywords["size"] == (64, 96)


def test_set_gives_a_schedule_to_a_run_that_has_none() -> None:
    run = recipes.find("wgan_gp_dcgan")(100)
    assert run.lr is run.ema is None
    run = config.override(config.override(run, "lr.start=500"), "ema.images=20")
    assert run.lr == LinearDecay(start=500, end=run.images)
    assert run.ema == HalfLife(images=20)
    assert config.override(run, "lr.end=900").lr == LinearDecay(start=500, end=900)
    assert config.override(config.override(run, "lr=null"), "ema=null").ema is None
    with pytest.raises(UserError, match="there is no 'begin' here"):
        config.override(recipes.find("wgan_gp_dcgan")(100), "lr.begin=5")


def test_set_checks_types_and_names() -> None:
    run = recipes.find("dcgan")(100)
    for assignment, message in [
        ("batch=many", "expected int"),
        ("G.depth=3", "no 'depth' here"),
        ("optim.E.lr=1", "no 'E' here"),
        ("optim.G=1", "optim.G.lr"),
        ("batch.size=3", "no settings of its own"),
        ("momentom=1", "Did you mean 'momentum'?"),
    ]:
        with pytest.raises(UserError, match=message):
            config.override(run, assignment)


def test_none_and_schedules_survive_the_file() -> None:
    run = recipes.find("dcgan_digits")(100)
    assert isinstance(config.load(config.dump(run)).ema, HalfLife)
    assert config.override(run, "ema=null").ema is None


# ---------------------------------------------------------------- names in descriptions

OPENERS = [
    "ganvas.data.stacked:stacks",
    "ganvas.data.toy:gaussian_grid_feed",
    "ganvas.data.toy:gaussian_ring_feed",
    "ganvas.data.toy:languages",
    "ganvas.data:derived",
    "ganvas.data:domains",
    "ganvas.data:images",
    "ganvas.data:label_maps",
    "ganvas.data:pairs",
    "ganvas.data:super_resolution",
]
RECORDS = {
    "ganvas.core.types",
    "ganvas.core.schedules",
    "ganvas.data.degradation_chain",
    "ganvas.data.degradation_steps",
    "ganvas.data.real_degradation",
}


OWN = ("tests", "conftest", "__main__", "toys", "figures", "autoencoders")  # of the tests


def _modules() -> set[str]:
    """All modules of ganvas and torch.optim, and their imports."""
    for root in (ganvas, torch.optim):
        for found in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    # Classes of test modules are the user's own program's.
    return {n for n in sys.modules if n.partition(".")[0] not in OWN}


def test_nothing_else_is_reachable() -> None:
    """Add a class to `ALLOWED` only after reading its constructor, a function rarely."""
    reachable = set()
    for module in _modules():
        if module.startswith("test_"):
            continue
        for name in list(vars(sys.modules[module])):
            with contextlib.suppress(UserError):
                registry.find(f"{module}:{name}")
                reachable.add(f"{module}:{name}")
    listed = {f"{module}:{name}" for module, names in registry.ALLOWED.items() for name in names}
    assert sorted(reachable - listed) == []
    assert sorted(listed - reachable) == []


def test_listed_names_are_those_of_all_recipes() -> None:
    functions = []
    for module, names in registry.ALLOWED.items():
        assert list(names) == sorted(names)
        for name in names:
            thing = registry.find(f"{module}:{name}")
            assert not name.startswith("_")
            if not isinstance(thing, type):
                functions.append(f"{module}:{name}")
                continue
            assert thing.__module__ == module
            if module in RECORDS:
                assert dataclasses.is_dataclass(thing)
                assert thing.__dataclass_params__.frozen  # type: ignore[attr-defined]
            else:
                assert issubclass(thing, nn.Module | torch.optim.Optimizer)
            for keyword, (annotation, _) in config._keywords(thing).items():
                assert annotation is not Any, (
                    f"{module}:{name} says not what {keyword} is, which cannot be checked"
                )
    assert sorted(functions) == OPENERS
    assert list(registry.ALLOWED) == sorted(registry.ALLOWED)
    methods_named = {
        name
        for module, names in registry.ALLOWED.items()
        if ".methods." in module
        for name in names
    }
    assert methods_named == set(methods.__all__)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        "torch:load",
        "torch.hub:load",
        "torch.nn.modules.linear:Linear",
        "torch.optim.lr_scheduler:LambdaLR",
        "torch.optim.adam:torch.load",
        "ganvas.data:os.system",
        "ganvas.data:cache_dir",
        "ganvas.data:x",
        "ganvas.data.:x",
        "ganvas.data.downloads:_receive",
        "ganvas.data.downloads:fetch_file",
        "ganvas.data.downloads:os.system",
        "ganvas.data.cache:_sweep",
        "ganvas.data.arrays:read_idx",
        "ganvas.core.types:Clock",
        "ganvas.core.types:Method",
        "ganvas.nets.vgg:_read",
        "ganvas.nets.vgg:VGG19",
        "ganvas.nets.dcgan:Generator.__init__.__globals__",
        "ganvas.nets.dcgan:nn",
        "ganvas.methods.dcgan:DCGAN.__class__",
        "ganvas.apps.cli.common:app",
        "ganvas.training.trainer:train",
        "no.such.module:thing",
        "antigravity:x",
    ],
)
def test_a_description_cannot_name_code_of_its_own_choice(name: str) -> None:
    for mark in ("$partial", "$new"):
        with pytest.raises(UserError, match=r"the description (uses|names)") as e:
            config.load({mark: name, "command": "x"})
        assert "\n" not in str(e.value)


class OwnNetwork(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.width = width

    class Inner(nn.Module): ...


class _PrivateNetwork(nn.Module): ...


def own_function(width: int = 3) -> nn.Module:
    return OwnNetwork(width)


def test_classes_of_the_users_own_program() -> None:
    """Networks and optimizers that the program has imported itself, and nothing else."""
    own: Any = config.load(
        {"$partial": f"{__name__}:OwnNetwork", "width": 5}, Callable[..., nn.Module]
    )
    assert own().width == 5
    with pytest.raises(UserError, match="takes no 'depth'"):
        config.load({"$partial": f"{__name__}:OwnNetwork", "depth": 5})
    for name in ("OwnNetwork.Inner", "_PrivateNetwork", "own_function", "nn", "config", "HalfLife"):
        with pytest.raises(UserError, match="not an allowed class"):
            config.load({"$partial": f"{__name__}:{name}"})
    with pytest.raises(UserError, match="import the module 'a_program_of_mine'"):
        config.load({"$partial": "a_program_of_mine:Network"})


def _changed(path: str, value: Any) -> Any:
    """cyclegan's description with one value changed."""
    description: Any = config.dump(recipes.find("cyclegan")(100))
    *names, last = path.split("/")
    node = description
    for name in names:
        node = node[name]
    node[last] = value
    return description


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("batch", "many", "batch: got 'many', expected int"),
        ("batch", None, "batch: "),
        ("bogus", 1, "takes no 'bogus'"),
        ("lr", 5, "lr: got 5"),
        ("lr/start", "soon", "lr.start: got 'soon', expected int"),
        (
            "lr",
            {"$new": "ganvas.core.schedules:LinearDecay"},
            "lr: ganvas.core.schedules:LinearDecay needs end, start",
        ),
        ("lr", {"$partial": "ganvas.core.schedules:LinearDecay"}, "cannot be given as"),
        ("lr", {"$partial": "torch.optim.adam:Adam"}, "lr: .* returns float"),
        (
            "lr",
            {"$new": "ganvas.core.schedules:LinearDecay", "$partial": "x"},
            "lr: expected one name",
        ),
        ("lr", {"$new": ["os:system"]}, "lr: expected one name"),
        ("lr", {"$call": "os:system"}, "lr: expected one name"),
        ("method/G/width", "wide", "method.G.width: got 'wide', expected int"),
        ("method/G/depth", 3, "method.G.depth: .*takes no 'depth'"),
        ("method/G", {"$new": "ganvas.nets.image_to_image:ResNetGenerator"}, "cannot be given as"),
        ("method/G", {"$partial": "torch.optim.adam:Adam"}, "method.G: .* returns Module"),
        ("method", {"$partial": "ganvas.data:images", "source": "x"}, "method: .* returns Method"),
        (
            "data",
            {"$partial": "ganvas.nets.patchgan:PatchDiscriminator"},
            "data: expected a function",
        ),
        ("data/size", "large", "data.size: "),
        ("optim/D/lr", "fast", "optim.D.lr: "),
        ("optim/D", {"$partial": "ganvas.nets.patchgan:PatchDiscriminator"}, "optim"),
        ("images", 10**30, "images: a number of 31 digits is too large"),
    ],
)
def test_every_keyword_is_checked(path: str, value: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as e:
        config.load(_changed(path, value))
    assert "\n" not in str(e.value)


def test_a_description_is_a_run() -> None:
    for value in (
        {},
        [],
        None,
        "x",
        {"$new": "ganvas.core.schedules:Constant"},
        {"$partial": "torch.optim.adam:Adam"},
    ):
        with pytest.raises(UserError):
            config.load(value)
    assert config.load(_changed("batch", 4)).batch == 4


def test_steps_of_a_rate() -> None:
    halved = StepDecay(every=100, factor=0.5)
    assert [halved(Clock(images=n)) for n in (0, 99, 100, 250)] == [1, 1, 0.5, 0.25]


def test_settings_by_path_are_assignments() -> None:
    given = {
        "G.widths": [8, 4],
        "labels": True,
        "ema": None,
        "optim.G.lr": 1e-3,
        "precision": "bf16",
    }
    expected = ("G.widths=[8, 4]", "labels=true", "ema=null", "optim.G.lr=0.001", "precision=bf16")
    assert config.assignments(given) == expected
    assert config.assignments("D.width=32") == ("D.width=32",)
    assert config.assignments(["a=1", "b=2"]) == ("a=1", "b=2")
    with pytest.raises(ConfigError, match="set takes numbers"):
        config.assignments({"lr": object()})

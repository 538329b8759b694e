"""Classifiers of photographs, with maps of the evidence for a class.

Networks that average their last maps tell it themselves (class activation maps), other
networks of torch by their gradient (Grad-CAM), and what gives no gradient by what it
says of an image of which a part is covered.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ganvas.core.errors import UserError, did_you_mean
from ganvas.core.files import sha256_of
from ganvas.metrics.features import Extractor, extractor, transformer
from ganvas.metrics.features.base import WEIGHTS_VARIABLE

# Beside the weights: a class a line, names separated by commas; first "background".
LABELS = "imagenet_labels.txt"
IMAGENET = (
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
)  # mean and deviation that most classifiers take
COVERS = 8  # a cover moves by an eighth of the image, and is a quarter of its side

Look = Callable[[Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Classifier:
    """Classifier with class activation maps.

    look: an image [1, C, H, W] in [-1, 1] and the number of a class -> (logits [K],
    evidence of each place for the class [h, w]). `labels`: the names of each class,
    behind commas; none if the classifier came without. `hash`: of its weights.
    """

    name: str
    hash: str
    look: Look
    labels: Sequence[str] = ()

    def find(self, image: Tensor, number: int) -> tuple[float, Tensor]:
        """(probability of the class, how much each place speaks for it [h, w]).

        Raises `UserError` for a number that is none of its classes.
        """
        logits, heat = self.look(image, number)
        return float(logits.double().softmax(0)[number]), heat.detach().float()

    def number(self, name: str) -> int:
        """The number of a class, given by that or by one of its names.

        Raises `UserError`, naming those that are near.
        """
        if name.isdecimal():
            if self.labels and int(name) >= len(self.labels):
                raise UserError(
                    f"{self.name} has classes 0 to {len(self.labels) - 1}, and no {name}"
                )
            return int(name)
        if not self.labels:
            raise UserError(
                f"{self.name} came without the names of its classes ({LABELS} or labels.txt "
                "beside its weights): give the "
                "number of the one you mean"
            )
        wanted = name.strip().lower()
        names = [[n.strip().lower() for n in label.split(",")] for label in self.labels]
        exact = [i for i, label in enumerate(self.labels) if label.strip().lower() == wanted]
        numbers = exact or [i for i, synonyms in enumerate(names) if wanted in synonyms]
        if len(numbers) == 1:
            return numbers[0]
        if numbers:
            which = "; ".join(f"{i} ({self.labels[i]})" for i in numbers)
            raise UserError(
                f"{len(numbers)} classes of {self.name} are called {name!r}: {which}. Give the "
                "number"
            )
        every = {n: i for i, synonyms in enumerate(names) for n in synonyms}
        near = [n for n in every if wanted in n.split()] or difflib.get_close_matches(
            wanted, every, n=5, cutoff=0.6
        )
        known = (
            f"Near: {', '.join(f'{n} ({every[n]})' for n in near[:5])}"
            if near
            else f"It has {len(names)} classes"
        )
        raise UserError(
            f"{self.name} has no class {name!r}. {known}. The names are those of its labels file"
        )


def classifier(name: str, weights: str | Path | None = None) -> Classifier:
    """Open a classifier by name or folder.

    name: `squeezenet`, `mobilenet-v2` (ImageNet's 1,000 classes, numbered from 0
    without the background), or a folder: one that the library transformers has saved
    (config.json and .safetensors), or one with a single .onnx file and, beside it,
    labels.txt, a class a line, and preprocessor_config.json if its images are not to be
    scaled as ImageNet's.

    weights: the file of the first two's weights or the folder in which it lies, and
    the labels with it; None: the folder that GANVAS_WEIGHTS names. Raises `UserError`
    for an unknown name, for weights that are missing or wrong, and if a library is
    missing.
    """
    if name in ("squeezenet", "mobilenet-v2"):
        if not (weights or os.environ.get(WEIGHTS_VARIABLE)):
            raise UserError(
                f"the classifier {name} needs its weights and {LABELS}: say in which folder they "
                "lie (--weights, or the "
                f"environment variable {WEIGHTS_VARIABLE})"
            )
        network = extractor(name, weights)
        return Classifier(name, network.hash, _class_activation(network), _imagenet(weights))
    folder = Path(os.path.expanduser(name))
    if not folder.is_dir():
        raise UserError(
            f"there is no classifier {name!r}, nor a folder of that name. "
            f"{did_you_mean(name, ['squeezenet', 'mobilenet-v2', 'FOLDER'])}"
        )
    networks = sorted(folder.glob("*.onnx"))
    if len(networks) == 1:
        return _onnx(networks[0])
    if networks:
        raise UserError(
            f"{folder} has {len(networks)} .onnx files ({networks[0].name}, …): leave one there"
        )
    return _transformers(folder)


def _imagenet(weights: str | Path | None) -> list[str]:
    """The 1,000 names; none if their file is not beside the weights."""
    place = Path(weights or os.environ.get(WEIGHTS_VARIABLE) or "")
    labels = _lines((place.parent if place.is_file() else place) / LABELS)
    return labels[1:] if labels[:1] == ["background"] else labels


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


# ---------------------------------------------------------------- where it looks


def _class_activation(network: Extractor) -> Look:
    """Class activation maps of a network whose logits are means over places.

    Zhou et al., 2016, Learning Deep Features for Discriminative Localization,
    arXiv:1512.04150, equation 2: the map is the quantity that the logit averages.
    """
    background = network.classes - 1000

    @torch.no_grad()
    def look(image: Tensor, number: int) -> tuple[Tensor, Tensor]:
        maps = network.net.class_maps(network.prepare(image))[0, background:]
        return maps.mean((1, 2)), maps[_within(number, len(maps), network.name)]

    return look


def gradient_activation(activations: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM: ReLU(sum_c mean(gradient_c) activations_c).

    Selvaraju et al., 2017, arXiv:1610.02391, equations 1 and 2. Activations of a layer,
    and the gradient of a class's logit by them [C, h, w] -> [h, w].
    """
    return (gradient.mean((1, 2), keepdim=True) * activations).sum(0).relu()


def _transformers(folder: Path) -> Classifier:
    saved = transformer.opened(folder, "AutoModelForImageClassification")
    ids = getattr(saved.model.config, "id2label", {})
    labels = [str(ids[i]) for i in range(len(ids))] if set(ids) == set(range(len(ids))) else []

    def look(image: Tensor, number: int) -> tuple[Tensor, Tensor]:
        x = _scaled(image, saved.side, saved.mean, saved.std).requires_grad_()
        out = saved.model(pixel_values=x, output_hidden_states=True)
        logits, states = out.logits[0], out.hidden_states
        score = logits[_within(number, len(logits), saved.name)]
        gradients = torch.autograd.grad(score, states, allow_unused=True)
        for state, gradient in zip(reversed(states), reversed(gradients), strict=True):
            if gradient is None:
                continue
            gradient = _places(gradient)
            # If only the class token is read, the last patches have no gradient.
            if bool(gradient.any()):
                return logits.detach(), gradient_activation(_places(state.detach()), gradient)
        raise UserError(
            f"{saved.name} has no layer whose places its class depends on: it cannot say where it "
            "looks"
        )

    return Classifier(saved.name, saved.hash, look, labels)


def _places(state: Tensor) -> Tensor:
    """Features [C, h, w] of a hidden state.

    The state is [1, C, h, w], or [1, tokens, C] with or without class tokens before the
    patches.
    """
    if state.ndim == 4:
        return state[0]
    side = math.isqrt(state.shape[1])
    return state[0, -side * side :].T.unflatten(1, (side, side))


def _onnx(file: Path) -> Classifier:
    """Classifier of an ONNX file; maps by occlusion.

    Zeiler and Fergus, 2014, Visualizing and Understanding Convolutional Networks,
    arXiv:1311.2901, section 4.2. A place speaks for a class as much as its probability
    falls, on average, with the covers that hide the place.
    """
    try:
        import openvino
    except Exception as e:  # a broken installation raises anything
        raise UserError(
            f"ONNX files are run by openvino ({e}): pip install 'ganvas[openvino]'"
        ) from None
    mean, std, side = transformer.preprocessing(file.parent, *IMAGENET)
    try:
        network = openvino.Core().read_model(file)
        wanted = network.input(0).partial_shape
        fixed = [d.get_length() if d.is_static else None for d in wanted]
        if len(fixed) != 4 or fixed[1] not in (3, None):
            raise UserError(f"{file} takes {wanted}; expected images [N, 3, height, width]")
        side = fixed[2] or side or 224
        network.reshape({network.input(0): [1, 3, side, side]})
        compiled = openvino.compile_model(network, "CPU")
    except RuntimeError as e:
        raise UserError(
            f"{file} cannot be read as a network ({str(e).strip().splitlines()[-1]})"
        ) from None

    def logits_of(x: Tensor) -> Tensor:
        out = torch.from_numpy(compiled([x.numpy()])[0].copy()).flatten()
        probabilities = bool((out >= 0).all()) and abs(float(out.sum()) - 1) < 1e-3
        return out.clamp(min=1e-12).log() if probabilities else out

    @torch.no_grad()
    def look(image: Tensor, number: int) -> tuple[Tensor, Tensor]:
        x = _scaled(image, side, mean, std)
        logits = logits_of(x)
        before = logits.softmax(0)[_within(number, len(logits), file.name)]
        fell, covered = torch.zeros(COVERS, COVERS), torch.zeros(COVERS, COVERS)
        edges = [round(i * side / COVERS) for i in range(COVERS + 1)]
        for i in range(COVERS - 1):
            for j in range(COVERS - 1):
                part = x.clone()
                part[..., edges[i] : edges[i + 2], edges[j] : edges[j + 2]] = 0  # the mean color
                fell[i : i + 2, j : j + 2] += before - logits_of(part).softmax(0)[number]
                covered[i : i + 2, j : j + 2] += 1
        return logits, (fell / covered).relu()

    return Classifier(file.stem, sha256_of(file), look, _lines(file.parent / "labels.txt"))


def _scaled(image: Tensor, side: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """[1, C, H, W] in [-1, 1] -> a color square as a classifier takes it."""
    x = image[:, :3].expand(-1, 3, -1, -1)
    x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return ((x + 1) / 2 - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(
        1, -1, 1, 1
    )


def _within(number: int, count: int, name: str) -> int:
    if not 0 <= number < count:
        raise UserError(f"{name} has classes 0 to {count - 1}, and no {number}")
    return number

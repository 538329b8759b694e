"""Networks of spandrel, a collection of 40 architectures for upscaling and restoration.

It is an extra, and asked for files that none of ganvas's own formats recognizes. It
gets tensors, never files, so that nothing is unpickled.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor, nn

from ganvas.core.errors import CapabilityError, UserError
from ganvas.core.guards import reason
from ganvas.inference.importers.formats import Found, State

LOG = logging.getLogger(__name__)


class Upscaler(nn.Module):
    """A network of spandrel, images in [0, 1].

    call: applies the network
    scale: sides of a result over those of its input
    multiple: of the sides of an input, in pixels
    """

    def __init__(
        self,
        net: nn.Module,
        call: Callable[[Tensor], Tensor],
        channels: int,
        scale: int,
        multiple: int,
    ) -> None:
        super().__init__()
        self.net, self._call = net, call
        self.channels, self.scale, self.multiple = channels, scale, multiple

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images x [N, channels, H, W] `scale` times."""
        return self._call(x)


@cache
def unavailable() -> str | None:
    """Why spandrel cannot be used, as a sentence; None if it can."""
    if importlib.util.find_spec("spandrel") is None:
        return "More upscalers are known with: pip install 'ganvas[spandrel]'."
    try:  # torchvision first, since spandrel takes long to import and fails without it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for package in ("torchvision", "spandrel"):
                importlib.import_module(package)
    except Exception as e:  # a torchvision of another torch fails in its own ways
        return f"spandrel, which knows more upscalers, cannot be imported ({reason(e)})."
    return None


def recognized(state: State) -> tuple[str, Found] | None:
    """(name, network with its weights) of tensors that spandrel knows; else None.

    Raises `UserError` if it fails on these tensors, and for networks that are no
    translators of images.
    """
    if unavailable() is not None:
        return None
    from spandrel import (  # pyright: ignore
        MAIN_REGISTRY,
        ImageModelDescriptor,
        UnsupportedModelError,
    )

    try:
        descriptor: Any = MAIN_REGISTRY.load(dict(state))
    except UnsupportedModelError:
        return None
    except Exception as e:  # whatever tensors that do not fit cause in its networks
        LOG.debug("spandrel failed", exc_info=e)
        raise UserError(
            "these tensors resemble a network of spandrel, whose layers they do not fit"
        ) from None
    name = f"{descriptor.architecture.name} (spandrel)"
    if not isinstance(descriptor, ImageModelDescriptor):
        raise CapabilityError(f"this is a {name}, which takes a mask besides an image")
    if descriptor.purpose == "FaceSR":
        raise CapabilityError(f"this is a {name}, a model of faces; ganvas has none of these")
    channels = descriptor.input_channels, descriptor.output_channels
    if channels[0] != channels[1]:
        raise CapabilityError(
            f"this is a {name} from {channels[0]} to {channels[1]} channels; expected as many"
        )
    multiple = descriptor.size_requirements.multiple_of
    net = Upscaler(descriptor.model, descriptor, channels[0], descriptor.scale, multiple)
    return name, Found(net, {})

"""Backends that run a trained network: OpenVINO."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.core import Method
from ganvas.core.errors import UserError

BACKENDS = ("torch", "openvino")
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}  # mean absolute difference of images in [-1, 1]


def use(backend: str, method: Method, precision: str) -> None:
    """Run the generators of `method` with `backend`.

    Raises `UserError` for a backend that is unknown or not installed.
    """
    if backend not in BACKENDS:
        raise UserError(f"backend is {backend!r}; choose {' or '.join(BACKENDS)}")
    if backend == "torch":
        return
    openvino = import_openvino()
    if method.device.type != "cpu":
        raise UserError(
            f"the backend openvino runs on the processor; the model is on {method.device}"
        )
    for name in method.ema_networks:
        setattr(method, name, OpenVINO(openvino, method.get_submodule(name), precision))


def import_openvino() -> ModuleType:
    """The package. Raises `UserError` if it cannot be imported."""
    try:
        import openvino
    except Exception as e:  # a broken installation raises anything
        raise UserError(
            f"openvino cannot be imported ({e}): pip install 'ganvas[openvino]'"
        ) from None
    return openvino


class OpenVINO(nn.Module):
    """A network compiled by Intel's OpenVINO.

    It is traced at its first call, and then takes any batch and any sides. The compiled
    network is compared with torch's own result on other inputs: networks that draw
    random numbers or branch on their input are rejected.
    """

    def __init__(self, openvino: ModuleType, net: nn.Module, precision: str) -> None:
        super().__init__()
        self.net, self.precision = net, precision
        self._openvino, self._compiled = openvino, {}
        self._buffer_versions: list[int] = []

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("net"), name)

    def forward(self, *inputs: Tensor, **options: object) -> Tensor:
        """The compiled network's output.

        Raises `UserError` for inputs and networks that OpenVINO cannot run.
        """
        if options or not all(isinstance(x, Tensor) for x in inputs):
            raise UserError(
                "the backend openvino runs only networks whose inputs are tensors, without "
                "options: use the backend torch"
            )
        # The buffers may change: BigGAN's statistics depend on the truncation.
        versions = [b._version for b in self.net.buffers()]
        if versions != self._buffer_versions:
            self._compiled, self._buffer_versions = {}, versions
        # One stream per thread, if each has an image; else all threads share one.
        threads = torch.get_num_threads()
        streams = threads if len(inputs[0]) >= threads else 1
        if streams not in self._compiled:
            self._compiled[streams] = self._compile(inputs, streams)
        return self._run(self._compiled[streams], inputs, streams)

    def _compile(self, inputs: tuple[Tensor, ...], streams: int) -> Any:
        openvino = self._openvino
        hint = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": streams,
        }
        shapes = [
            [-1, *(s if i == 0 or x.dim() < 4 else -1 for i, s in enumerate(x.shape[1:]))]
            for x in inputs
        ]
        example = tuple(x.detach().clone().contiguous() for x in inputs)
        try:
            with torch.no_grad(), torch.autocast("cpu", enabled=False), warnings.catch_warnings():
                # Checks become constants in the trace; its result is compared below.
                warnings.simplefilter("ignore")
                traced: Any = torch.jit.trace(self.net, example, check_trace=False)
                if not isinstance(traced(*example), Tensor):
                    raise TypeError("it returns images of several domains")
                network = openvino.convert_model(traced, example_input=example)
            network.reshape(dict(zip(network.inputs, shapes, strict=True)))
            compiled = openvino.compile_model(network, "CPU", hint)
        except Exception as e:
            raise UserError(
                f"openvino cannot run this network ({str(e).splitlines()[0]}): use the backend "
                "torch"
            ) from None
        others = tuple((x.flip(0) * 0.9 if x.is_floating_point() else x.flip(0)) for x in inputs)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            error = float(
                (self.net(*others).float() - self._run(compiled, others, streams)).abs().mean()
            )
        if not error <= TOLERANCE[self.precision]:
            raise UserError(
                f"openvino's result differs from torch's by {error:.3g} on average, in [-1, 1]: "
                "this network draws random numbers or branches on its input. Use the backend torch"
            )
        return compiled

    def _run(self, compiled: Any, inputs: tuple[Tensor, ...], streams: int) -> Tensor:
        requests = []
        for part in zip(
            *(x.detach().contiguous().tensor_split(streams) for x in inputs), strict=True
        ):
            requests.append(compiled.create_infer_request())
            requests[-1].start_async([x.numpy() for x in part])
        outputs = []
        for request in requests:
            request.wait()
            outputs.append(torch.from_numpy(request.get_output_tensor(0).data.copy()))
        return torch.cat(outputs)

"""`ganvas export`, `ganvas push`: models for other programs and people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganvas.apps.cli.common import TRUNCATIONS, USE, Checkpoint, Model, app, say


@app.command(rich_help_panel=USE)
def push(
    run: Model,
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hugging Face Hub.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="If the repository is new: only for its owners.")
    ] = False,
) -> None:
    """Upload a model with its card to the Hugging Face Hub.

    Every command that takes a model takes hub:OWNER/NAME in its place, as does Python's
    `ganvas.load`.

    Example: `ganvas push runs/p me/roses`
    """
    from ganvas.inference import hub

    say(f"uploaded to {hub.push(run, repository, private=private)}")


@app.command(rich_help_panel=USE)
def export(
    run: Model,
    to: Annotated[
        str,
        typer.Option(
            "--to", help="Form: onnx, openvino, torchscript, ncnn, basicsr, diffusers or taming."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="New file: .onnx, .xml, .pt, .param, .pth or .safetensors; diffusers: new folder; "
            "taming: .safetensors or .ckpt.",
        ),
    ],
    direction: Annotated[
        str | None, typer.Option(help="Target domain of a translation: b (default) or a.")
    ] = None,
    truncation: Annotated[
        float | None,
        typer.Option(
            max=TRUNCATIONS,
            help="Truncation that is fixed in the file, for BigGAN; other methods that support it "
            "take it as an input.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Weights and activations of 8 bits, for onnx and openvino; prints what it costs.",
        ),
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --int8: images of the kind that a translator gets, at least 2, better 80.",
        ),
    ] = None,
    checkpoint: Checkpoint = "last",
    network: Annotated[
        str,
        typer.Option(
            help="G, or D: the discriminator of a run of realesrgan, esrgan or srgan_*, for "
            "basicsr."
        ),
    ] = "G",
) -> None:
    """Export a model to other forms, and compare the file with torch.

    ONNX, OpenVINO, TorchScript and ncnn hold the network (ncnn: if it takes images).
    The other forms hold weights as other programs read them: basicsr those of a
    super-resolution network, diffusers and taming those of autoencoder_kl and vqgan.
    Images are float32 [batch, channels, height, width] in [0, 1]. Other programs do not
    mark them as generated: do so yourself.

    Example: `ganvas export runs/p --to onnx --out p.onnx`
    """
    from ganvas.core.guards import plural
    from ganvas.inference.exporters.export import export as run_export

    made = run_export(
        *(run, to, out),
        to=direction,
        truncation=truncation,
        checkpoint=checkpoint,
        network=network,
        quantized=int8,
        calibrate=calibrate,
    )
    result = "logits" if network == "D" else "float32 [batch, channels, height, width] in [0, 1]"
    say(f"{to} in {made.file}, result: {result}")
    for one in made.inputs:
        say(f"  {one.name}: {one.text}")
    if not made.free_sides and "image" in {one.name for one in made.inputs}:
        say(f"  height and width are {'x'.join(map(str, made.compared[0].sizes[0][2:]))} only")
    for note in made.notes:
        say(f"note: {note}")
    for one in made.compared:
        sizes = ", ".join("x".join(map(str, size)) or "1" for size in one.sizes)
        say(f"compared with torch, inputs {sizes}: largest difference {one.difference:.1e}")
    if (cost := made.cost) is not None:
        sizes = (f"{size / 2**20:.2f}" for size in (cost.bytes_before, cost.bytes_after))
        say(f"8 bits, calibrated on {plural(cost.calibrated, 'image')}: {' to '.join(sizes)} MiB")
        found = f"PSNR {cost.psnr:.1f} dB"
        if cost.lpips is not None:
            found += f", {cost.backbone} {cost.lpips:.3f}"
        say(f"{plural(cost.measured, 'other image')} of 8 bits against 32: {found}")

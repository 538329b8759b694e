"""One paper, one file; `base` holds what several papers share.

A method imports core, media, objectives, metrics and networks; never data, the engine
or another method.
"""

from ganvas.methods.autoencoder_kl import AutoencoderKL
from ganvas.methods.biggan import BigGAN
from ganvas.methods.cgan import CGAN
from ganvas.methods.cogan import CoGAN
from ganvas.methods.cut import CUT
from ganvas.methods.cyclegan import CycleGAN
from ganvas.methods.dcgan import DCGAN
from ganvas.methods.deoldify import DeOldify
from ganvas.methods.discogan import DiscoGAN
from ganvas.methods.dong2017 import Dong2017
from ganvas.methods.dual_learning import DualLearning
from ganvas.methods.dualgan import DualGAN
from ganvas.methods.esrgan import ESRGAN
from ganvas.methods.fastgan import FastGAN
from ganvas.methods.gan import GAN
from ganvas.methods.infogan import InfoGAN
from ganvas.methods.lsgan import LSGAN
from ganvas.methods.multiscale_patch import MultiscalePatch
from ganvas.methods.pacgan import PacGAN
from ganvas.methods.pix2pix import Pix2Pix
from ganvas.methods.pix2pixhd import Pix2PixHD
from ganvas.methods.progan import ProGAN
from ganvas.methods.r3gan import R3GAN
from ganvas.methods.realesrgan import RealESRGAN
from ganvas.methods.s3gan import S3GAN
from ganvas.methods.sagan import SAGAN
from ganvas.methods.singan import SinGAN
from ganvas.methods.sngan import SNGAN
from ganvas.methods.spade import SPADE
from ganvas.methods.sparse_transformer import SparseTransformer
from ganvas.methods.srgan import SRGAN
from ganvas.methods.srresnet import SRResNet
from ganvas.methods.stylegan import StyleGAN
from ganvas.methods.stylegan2 import StyleGAN2
from ganvas.methods.stylegan3 import StyleGAN3
from ganvas.methods.unit import UNIT
from ganvas.methods.vae import VAE
from ganvas.methods.vaegan import VAEGAN
from ganvas.methods.vqgan import VQGAN
from ganvas.methods.wgan import WGAN
from ganvas.methods.wgan_gp import WGANGP

__all__ = [
    "CGAN",
    "CUT",
    "DCGAN",
    "ESRGAN",
    "GAN",
    "LSGAN",
    "R3GAN",
    "S3GAN",
    "SAGAN",
    "SNGAN",
    "SPADE",
    "SRGAN",
    "UNIT",
    "VAE",
    "VAEGAN",
    "VQGAN",
    "WGAN",
    "WGANGP",
    "AutoencoderKL",
    "BigGAN",
    "CoGAN",
    "CycleGAN",
    "DeOldify",
    "DiscoGAN",
    "Dong2017",
    "DualGAN",
    "DualLearning",
    "FastGAN",
    "InfoGAN",
    "MultiscalePatch",
    "PacGAN",
    "Pix2Pix",
    "Pix2PixHD",
    "ProGAN",
    "RealESRGAN",
    "SRResNet",
    "SinGAN",
    "SparseTransformer",
    "StyleGAN",
    "StyleGAN2",
    "StyleGAN3",
]

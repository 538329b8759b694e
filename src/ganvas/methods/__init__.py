"""One paper, one file; `base` holds what several papers share.

A method imports core, networks and objectives; never data, the engine or another
method.
"""

from ganvas.methods.biggan import BigGAN
from ganvas.methods.cgan import CGAN
from ganvas.methods.cogan import CoGAN
from ganvas.methods.cyclegan import CycleGAN
from ganvas.methods.dcgan import DCGAN
from ganvas.methods.discogan import DiscoGAN
from ganvas.methods.dong2017 import Dong2017
from ganvas.methods.dual_learning import DualLearning
from ganvas.methods.dualgan import DualGAN
from ganvas.methods.gan import GAN
from ganvas.methods.pix2pix import Pix2Pix
from ganvas.methods.progan import ProGAN
from ganvas.methods.r3gan import R3GAN
from ganvas.methods.sagan import SAGAN
from ganvas.methods.sngan import SNGAN
from ganvas.methods.srgan import SRGAN
from ganvas.methods.srresnet import SRResNet
from ganvas.methods.stylegan import StyleGAN
from ganvas.methods.stylegan2 import StyleGAN2
from ganvas.methods.unit import UNIT
from ganvas.methods.vae import VAE
from ganvas.methods.vaegan import VAEGAN
from ganvas.methods.wgan import WGAN
from ganvas.methods.wgan_gp import WGANGP

__all__ = [
    "CGAN",
    "DCGAN",
    "GAN",
    "R3GAN",
    "SAGAN",
    "SNGAN",
    "SRGAN",
    "UNIT",
    "VAE",
    "VAEGAN",
    "WGAN",
    "WGANGP",
    "BigGAN",
    "CoGAN",
    "CycleGAN",
    "DiscoGAN",
    "Dong2017",
    "DualGAN",
    "DualLearning",
    "Pix2Pix",
    "ProGAN",
    "SRResNet",
    "StyleGAN",
    "StyleGAN2",
]

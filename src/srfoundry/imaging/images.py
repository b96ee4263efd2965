"""Where uint8, height-width-channel order and 255 become [0, 1] tensors, and back; what is in files: decoding.py."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, JpegImagePlugin
from torch import Tensor

from srfoundry.core.atomic import replacing
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, formats

BUNDLED = {  # freely licensed photographs inside the wheels, by package; the rest there are drawings or masks
    "skimage.data": (
        "astronaut.png brick.png camera.png chelsea.png coffee.png coins.png grass.png gravel.png "
        "hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png motorcycle_right.png page.png retina.jpg rocket.jpg"
    ),
    "sklearn.datasets.images": "china.jpg flower.jpg",
}
SCENES = {"motorcycle_left": "motorcycle", "motorcycle_right": "motorcycle"}  # two views of one scene


def read(path: Path, largest: int | None = None) -> Float[Tensor, "1 3 h w"]:
    """Read a photograph (PNG, JPEG, WebP, TIFF, BMP) as RGB in [0, 1]; alpha is dropped. See `decoding.decode`."""
    return rgb(decoding.decode(path, largest))


def rgb(picture: Image.Image) -> Float[Tensor, "1 3 h w"]:
    """Turn what `decoding.decode` returned into RGB in [0, 1], without its alpha."""
    return from_uint8(torch.from_numpy(np.array(picture.convert("RGB"))).unsqueeze(0))


def write(image: Float[Tensor, "1 3 h w"], path: Path, *, truncate: bool = False) -> None:
    """Write an image in [0, 1] (clipped, rounded or truncated to 8 bits); the suffix of `path` chooses the format.

    Raises:
        FoundryError: the suffix names no format, or the file cannot be written.
    """
    try:
        with replacing(path) as partial:
            picture = Image.fromarray(to_uint8(image, truncate=truncate)[0].cpu().numpy())
            formats.save(picture, partial, formats.options(path))
    except (OSError, ValueError, KeyError) as error:
        raise FoundryError(f"cannot write {path}: {error}; name a .png file where there is room") from None


def bundled() -> list[Path]:
    """List the photographs inside scikit-image and scikit-learn; nothing is downloaded."""
    from importlib.resources import files

    paths = [Path(str(files(package) / name)) for package, names in BUNDLED.items() for name in names.split()]
    return sorted(paths, key=lambda path: path.stem)


def jpeg(image: Float[Tensor, "b c h w"], quality: int) -> Float[Tensor, "b c h w"]:
    """Round images in [0, 1] to 8 bits, compress each as JPEG (4:2:0) and decode it again; no gradient flows.

    Raises:
        FoundryError: `quality` is not within 1..95, or the images are not RGB.
    """
    if image.shape[1] != 3:
        raise FoundryError(f"JPEG takes images of 3 channels, got {image.shape[1]}; repeat a grey one")
    if not 1 <= quality <= 95:
        raise FoundryError(f"JPEG quality must be within 1 to 95, got {quality}; above 95 nothing is gained")
    pixels = to_uint8(image).cpu().numpy()
    for one in pixels:
        packed = BytesIO()
        Image.fromarray(one).save(packed, "JPEG", quality=quality, subsampling="4:2:0")
        packed.seek(0)
        one[...] = np.asarray(JpegImagePlugin.JpegImageFile(packed))
    return from_uint8(torch.from_numpy(pixels)).to(image)


def to_uint8(image: Float[Tensor, "b c h w"], *, truncate: bool = False) -> UInt8[Tensor, "b h w c"]:
    """Round [0, 1] to 8 bits, half up as MATLAB does, or drop the fraction as some programs do; channels last."""
    levels = torch.floor(image.detach().double().clamp(0, 1) * 255 + (0.0 if truncate else 0.5))
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_uint8(pixels: UInt8[Tensor, "b h w c"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "b c h w"]:
    """Turn 8-bit pixels, channels last, into floats in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).to(dtype, memory_format=torch.contiguous_format).div_(255)


def matlab_luma(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return Y of ITU-R BT.601 in 16..235 (MATLAB's rgb2ycbcr), not rounded, for an image in [0, 1]."""
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=image.dtype, device=image.device)
    return (image * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True) + 16.0

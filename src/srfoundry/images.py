"""The only place where files, uint8, height-width-channel order and 255 live: everything else sees [0, 1] tensors."""

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from srfoundry.errors import FoundryError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
BUNDLED = {  # freely licensed photographs inside the wheels, by package; the rest there are drawings or masks
    "skimage.data": (
        "astronaut.png brick.png camera.png chelsea.png coffee.png coins.png grass.png gravel.png "
        "hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png motorcycle_right.png page.png retina.jpg rocket.jpg"
    ),
    "sklearn.datasets.images": "china.jpg flower.jpg",
}
SCENES = {"motorcycle_left": "motorcycle", "motorcycle_right": "motorcycle"}  # two views of one scene


def read(path: Path) -> Float[Tensor, "1 3 h w"]:
    """Read a photograph of any common kind as RGB in [0, 1].

    Grey, palette, alpha (dropped), CMYK and 16-bit files are converted; the EXIF orientation is applied.

    Raises:
        FoundryError: the file is missing, truncated, not an image, absurdly large, or of float pixels.
    """
    return from_uint8(torch.from_numpy(_decode(path)).unsqueeze(0))


def _decode(path: Path) -> "np.ndarray":
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                file.load()  # Pillow reads lazily: a truncated file only shows here
                picture = ImageOps.exif_transpose(file)
                if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
                    return _sixteen_bit(path, picture)
                if picture.mode == "F":
                    raise FoundryError(f"{path}: pixels are floats of unknown range; save it with 8 or 16 bits")
                return np.array(picture.convert("RGB"))
    except FileNotFoundError:
        raise FoundryError(f"{path} not found; check the path") from None
    except UnidentifiedImageError:
        raise FoundryError(f"{path} is not an image that can be read; remove it or save it as PNG or JPEG") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FoundryError(f"{path} claims an absurd number of pixels; remove it or cut it into parts") from None
    except (OSError, SyntaxError, ValueError, IndexError, MemoryError, OverflowError) as error:
        # Pillow's decoders answer damaged bytes with all of these.
        raise FoundryError(f"{path} is damaged ({error}); replace it with a good copy") from None


def _sixteen_bit(path: Path, picture: Image.Image) -> "np.ndarray":
    grey = np.asarray(picture).astype(np.float64)
    if grey.min() < 0 or grey.max() > 65535:
        raise FoundryError(f"{path}: grey values {grey.min():.0f} to {grey.max():.0f} exceed 16 bits; save it with 16")
    eight = np.floor(grey / 257.0 + 0.5).astype(np.uint8)  # 65535 / 255 = 257; convert("RGB") would clip instead
    return np.repeat(eight[..., None], 3, axis=2)


def write(image: Float[Tensor, "1 3 h w"], path: Path) -> None:
    """Write an image in [0, 1] (clipped, rounded to 8 bits); the suffix of `path` chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_uint8(image)[0].cpu().numpy()).save(path)


def find(folder: Path) -> list[Path]:
    """List the image files below a folder, in a stable order.

    Raises:
        FoundryError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise FoundryError(f"{folder} is not a folder; point to a folder of photographs")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        kinds = " ".join(sorted(SUFFIXES))
        raise FoundryError(f"{folder} holds no photograph; put files there that end in {kinds}")
    return found


def bundled() -> list[Path]:
    """List the photographs inside scikit-image and scikit-learn; nothing is downloaded."""
    from importlib.resources import files

    paths = [Path(str(files(package) / name)) for package, names in BUNDLED.items() for name in names.split()]
    return sorted(paths, key=lambda path: path.stem)


def to_uint8(image: Float[Tensor, "b c h w"]) -> UInt8[Tensor, "b h w c"]:
    """Round [0, 1] to 8 bits, half up as MATLAB does, channels last."""
    levels = torch.floor(image.detach().double().clamp(0, 1) * 255 + 0.5)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def from_uint8(pixels: UInt8[Tensor, "b h w c"]) -> Float[Tensor, "b c h w"]:
    """Turn 8-bit pixels, channels last, into float32 in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).contiguous().float() / 255


def luma(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return Y of ITU-R BT.601 in 16..235 (MATLAB's rgb2ycbcr), not rounded, for an image in [0, 1]."""
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=image.dtype, device=image.device)
    return (image * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True) + 16.0

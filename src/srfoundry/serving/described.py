"""What the interface's description (OpenAPI) says of bodies and answers, with examples."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from srfoundry.serving import images
from srfoundry.serving.problems import MEDIA


class ProblemBody(BaseModel):
    """Problem details, RFC 9457."""

    title: str = Field(examples=["Too many pixels"])
    detail: str = Field(examples=["a photograph may have 24 megapixels here; send a smaller one"])
    status: int = Field(examples=[413])


class JobBody(BaseModel):
    """How a photograph gets on."""

    id: str = Field(examples=["o3Hq1cV0hXkq2bQe"])
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    title: str = Field("", description="What is being done, where there are several parts.")
    done: int = Field(description="Tiles, or steps, that are done.", examples=[3])
    tiles: int = Field(description="Tiles, or steps, in all.", examples=[12])
    model: str = Field(examples=["champion"])
    version: str = Field(description="Empty until the work has begun.", examples=["4"])
    error: ProblemBody | None = None
    why: str | None = Field(None, description="This model was taken, where there was a choice.")
    remarks: list[str] | None = Field(None, description="How it was restored, or why it was enlarged instead.")


class ModelBody(BaseModel):
    """A member of the family."""

    name: str = Field(examples=["champion"])
    alias: str | None = Field(description="In the registry.", examples=["champion"])
    version: str = Field(examples=["4"])
    scale: int = Field(examples=[2])
    parameters: int = Field(examples=[110410])
    bytes: int = Field(examples=[455882])
    psnr_y: float | None = Field(
        description="dB, on held-out photographs made small in the way that it is for.", examples=[34.68]
    )
    gain_db: float | None = Field(description="Over bicubic, on the same.", examples=[2.16])
    degradation: Literal["bicubic", "blind", "photographs"] = Field(
        description="What it is for: clean small images (bicubic), or ones with blur, noise and JPEG (blind: one "
        "round; photographs: two, as cameras and the web make them)."
    )
    seconds_per_megapixel: float = Field(description="Of input, measured here.", examples=[1.31])
    default: bool
    refused: dict[str, str] = Field(description="A newer version that failed its self-test, and why.")


PICTURES: dict[str, Any] = {media: {"schema": {"type": "string", "format": "binary"}} for media in images.MEDIA}
PHOTOGRAPH: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A PNG, JPEG, WebP, TIFF or BMP: the file itself, or the field `image` of a form.",
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}
            },
        },
    }
}
WHY = {
    400: "No photograph, or a damaged form",
    404: "No such model or job",
    406: "None of the formats that the client takes",
    408: "The body came too slowly",
    409: "The job is not done",
    413: "Too many bytes or pixels",
    415: "Not a format that is read",
    422: "The photograph or a parameter cannot be used",
    429: "The queue is full; Retry-After says when there may be room",
    501: "What this needs is not installed",
    503: "Out of time, memory or room on its disk, or about to stop",
}


def why(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals for the documentation."""
    problem = {MEDIA: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": WHY[status], "content": problem} for status in statuses}


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The enlarged photograph",
        "content": PICTURES,
        "headers": {
            "X-Model": {"description": "Whose result it is, quoted as in a URL.", "schema": {"type": "string"}},
            "X-Model-Version": {"description": "Which version of it, quoted so.", "schema": {"type": "string"}},
            "X-Model-Why": {"description": "Why it was taken, where there was a choice.", "schema": {"type": "string"}},
        },
    },
    202: {"description": "With wait=false: the job; Location is its address", "model": JobBody},
    **why(400, 404, 406, 408, 413, 415, 422, 429, 503),
}

"""What a registered version shows to people: a description, a card, and a picture where the photographs are free."""

from dataclasses import replace
from pathlib import Path

from srfoundry.core.urls import redacted
from srfoundry.deployment.model_card import gathering, text
from srfoundry.reporting import before_after
from srfoundry.runtime.session import Session
from srfoundry.tracking.packing import Presentation

SPARE = ("jpeg", "gauss20")  # of a champion; `srfoundry card` measures all there is, of any member, which takes longer
CHAMPION = "@champion"
MADE = "made"  # folder within a version: what it was made with


def present(session: Session, size: int, held_out: Path, address: str, *, anew: bool, project: Path) -> Presentation:
    """Measure a model on the held-out photographs, if they are here, and put what it is into words.

    Args:
        session: the model.
        size: bytes of its file.
        held_out: folder of the photographs; it may be missing.
        address: that it is registered under, `models:/NAME@alias`.
        anew: whether to measure what its own card says of it, too: it was found on other photographs.
        project: folder of the params.yaml and dvc.lock that it was made with; they may be missing.
    """
    conditions = ([session.card.judged_on] if anew else []) + (list(SPARE) if address.endswith(CHAMPION) else [])
    facts = gathering.gather(session, size, held_out.parent, conditions)
    picture = before_after.drawn(session, held_out, facts.held_out[:1]) if facts.bundled else None
    facts = replace(facts, picture=picture is not None, address=address)
    files = _made_with(project) | ({} if picture is None else {text.PICTURE: picture})
    return Presentation(text.short(facts), text.readme(facts, f"srfoundry {session.card.name}"), files)


def _made_with(project: Path) -> dict[str, bytes]:
    """What DVC makes the model again from: a night's dvc.lock is in no commit.

    Without passwords, and without the lists of photographs: a version's folder goes into containers.
    """
    found = [project / name for name in ("params.yaml", "dvc.lock", "results/environment/versions.json")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in found if path.is_file()}
    return {f"{MADE}/{name}": redacted(text).encode() for name, text in texts.items()}

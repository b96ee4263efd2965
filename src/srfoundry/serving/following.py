"""Following the source: a version that is new there is loaded beside the one that works, tested, and then exchanged.

No request waits for that, and none fails of it. What fails its test is refused, once, and the old one goes on. What
cannot be fetched is tried again, ever more seldom, and said again where the reason is another. A member that the source
has no longer goes on, too, until the server is restarted: a request by its name is not refused, nor does one without a
name get another member.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from srfoundry.core.errors import FoundryError, is_out_of_memory
from srfoundry.serving import self_test
from srfoundry.serving.members import Family
from srfoundry.serving.sources import Offer, Source

LOG = logging.getLogger("srfoundry.serving")
SELDOM = 255  # looks that are let pass at most before what could not be fetched is tried again


@dataclass(frozen=True)
class Failure:
    """Why an offer could not be loaded, though nothing is wrong with it.

    Attributes:
        why: in words.
        pause: looks between this try and the next; none after the first, then twice as many each time and one.
        left: of these.
    """

    why: str
    pause: int = 0
    left: int = 0


class Follower:
    """Keeps a family as its source has it.

    Args:
        source: where the models come from.
        family: that is served.
        threads: of the processor, for all requests.
        device: auto, cpu or cuda.
        refused: is called with the name of a member whose new version was not taken.
        failed: is called where the source does not answer.
    """

    def __init__(
        self,
        source: Source,
        family: Family,
        *,
        threads: int,
        device: str = "auto",
        refused: Callable[[str], None] = lambda name: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.source, self.family = source, family
        self._threads, self._device = threads, device
        self._refused, self._failed = refused, failed
        self._bad: dict[str, str] = {}  # the version of each member that was refused last
        self._away = ""  # what the source said when it did not answer
        self._raised = ""  # what ended the last look, where nobody foresaw it
        self._failures: dict[Offer, Failure] = {}
        self._gone = set[str]()  # members that the source has no longer
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Load what there is, before the first request.

        Raises:
            FoundryError: the source does not answer, or none of its models can be served.
        """
        whys: list[str] = []
        for offer in self.source.offers():
            why = self._try(offer)
            if why:
                whys.append(f"{offer.name}: {why}")
        if not self.family.members():
            raise FoundryError(f"no model of {self.source.shown} can be served: {'; '.join(whys)}")

    def follow(self, seconds: float) -> None:
        """Look every so many seconds from now on, in a thread."""
        self._thread = threading.Thread(target=self._look, args=(seconds,), name="follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Take over what has changed."""
        try:
            offers = self.source.offers()
        except FoundryError as error:
            self._failed()
            if str(error) != self._away:
                LOG.warning("%s; the models that are here go on", error)
            self._away = str(error)
            return
        self._away = ""
        names = {offer.name for offer in offers}
        for member in self.family.members():
            if member.name not in names | self._gone:
                LOG.warning(
                    "%s is not in %s any more; its version %s goes on until another comes, or the server is restarted",
                    *(member.name, self.source.shown, member.loaded.version),
                )
        self._gone = {member.name for member in self.family.members()} - names
        self._failures = {offer: failure for offer, failure in self._failures.items() if offer in offers}
        for offer in offers:
            failure = self._failures.get(offer)
            if failure is not None and failure.left:
                self._failures[offer] = replace(failure, left=failure.left - 1)
            else:
                self._try(offer)

    def _look(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.look()
                self._raised = ""
            except Exception as error:  # whatever a foreign file or store raises: the server goes on with what it has
                self._failed()
                if repr(error) != self._raised:
                    LOG.exception("looking at %s failed", self.source.shown)
                self._raised = repr(error)

    def _try(self, offer: Offer) -> str:
        """Take an offer unless it is served or was refused; returns why it was refused."""
        before = self.family.current(offer.name)
        if before is not None and before.version == offer.version or self._bad.get(offer.name) == offer.version:
            return ""
        try:
            blob = self.source.fetch(offer)
        except FoundryError as error:
            self._failed()
            self._postpone(offer, str(error))
            return str(error)
        try:
            loaded = self_test.load(blob, offer.version, threads=self._threads, device=self._device, before=before)
        except Exception as error:  # a runtime raises much on a foreign file; memory may be there the next time
            if is_out_of_memory(error):
                self._postpone(offer, str(error))
                raise
            self._bad[offer.name] = offer.version
            self.family.refuse(offer.name, offer.version, str(error))
            self._refused(offer.name)
            LOG.warning("%s version %s is not taken: %s", offer.name, offer.version, error)
            return str(error)
        self._bad.pop(offer.name, None)
        self._failures.pop(offer, None)
        self.family.take(offer.name, offer.alias, loaded)
        gain = loaded.card.scores().get("gain_db", 0.0)
        if gain < 0:
            below = "%s version %s is below bicubic, %+.2f dB by its card; a registry's champion is not: models:/NAME"
            LOG.warning(below, offer.name, offer.version, gain)
        if before is not None:
            LOG.warning("%s is version %s from now on, it was %s", offer.name, offer.version, before.version)
        return ""

    def _postpone(self, offer: Offer, why: str) -> None:
        known = self._failures.get(offer)
        if known is None or known.why != why:
            LOG.warning("%s", why)
        pause = 0 if known is None else min(2 * known.pause + 1, SELDOM)
        self._failures[offer] = Failure(why, pause, pause)

"""What Kaggle hands out, and how a person may name it: a competition or a data set, by slug or address."""

from __future__ import annotations

import re
from dataclasses import dataclass

from softvote.errors import UserError
from softvote.kaggle.transport import MEND, Remedies

_SLUG = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?kaggle\.com/(?P<path>[^?#]+)(?:[?#].*)?")
_COMPETITION = re.compile(rf"(?:c|competitions)/(?P<slug>{_SLUG})(?:/.*)?")
_DATASET = re.compile(rf"(?:datasets/)?(?P<slug>{_SLUG}/{_SLUG})(?:/.*)?")


@dataclass(frozen=True)
class Source:
    """A competition or a data set.

    Attributes:
        slug: of a competition, such as digit-recognizer; or owner/name of a data set.
    """

    slug: str

    @property
    def is_dataset(self) -> bool:
        """Whether it is a data set rather than a competition."""
        return "/" in self.slug

    @property
    def name(self) -> str:
        """Its own name, without the owner's."""
        return self.slug.rpartition("/")[2]

    @property
    def page(self) -> str:
        """Where to look at it."""
        return f"https://www.kaggle.com/{'datasets' if self.is_dataset else 'competitions'}/{self.slug}"


def parse_source(text: str) -> Source:
    """What a person means by a slug, by owner/name, or by an address pasted from the browser.

    Raises:
        UserError: it is none of these.
    """
    if address := _ADDRESS.fullmatch(text.strip()):
        path = address["path"].strip("/")
        found = _COMPETITION.fullmatch(path) or _DATASET.fullmatch(path)
        if found and (path.startswith("datasets/") or found.re is _COMPETITION):
            return Source(found["slug"])
    elif re.fullmatch(rf"{_SLUG}(?:/{_SLUG})?", text):
        return Source(text)
    hint = "write its name, owner/name of a data set, or paste the address of its page"
    raise UserError.at(text, "is not a Kaggle competition or data set", hint)


def remedies_of(source: Source) -> Remedies:
    """What to do where Kaggle refuses something about a competition or a data set."""
    if source.is_dataset:
        remedy = f"check that it exists and is open to you: {source.page}"
        return Remedies(remedy, remedy, MEND)
    return Remedies(
        forbidden=f"join the competition and accept its rules at {source.page}/rules",
        unknown=f"its name is the last part of its address: is there {source.page} ?",
        otherwise=MEND,
    )

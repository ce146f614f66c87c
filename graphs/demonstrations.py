"""What the demonstrations teach: which tools a message calls for, and the nearest examples of it.

A 135 M-parameter model cannot choose a tool by itself. The choice is read from the demonstrations instead, by kernel
ridge regression on sentence embeddings and a few cues of wording; the model then writes the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from .. import prompts
from ..tools import wording
from ..tools.base import Tool
from ..tools.mentions import Mentions, label_words, labels_said, wanted_and_refused

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
#: Demonstrations with their cosine to the message, nearest first.
Near = Sequence[tuple[prompts.Demonstration, float]]

FEEDBACK = "record_feedback"
#: Weight of a cue of wording beside the embedding (of length 1), and of the ridge. Chosen by leaving one out among
#: the 637 phrasings that the shipped ones were thinned from: 85 % got their tools back; 83 % without the cues, 77 %
#: with titles left in, 57 % from the nearest neighbour alone.
CUE_WEIGHT = 0.2
RIDGE = 0.1
#: How many examples of a shape are looked at for the arguments they use.
MOST_NEAR = 5
#: A word means a label from this cosine on, and where it leads the next label by the margin.
LABEL_SIMILARITY = 0.65
LABEL_MARGIN = 0.12


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of a plan.

    Attributes:
        tools: what is called, in order; none for small talk.
        taste: whether feedback in it is on a taste ("I hate musicals"), not on an item.
        like: whether a search in it is for what is like an item.
    """

    tools: tuple[str, ...]
    taste: bool = False
    like: bool = False

    @classmethod
    def of(cls, calls: Sequence[Mapping[str, Any]]) -> Shape:
        given = {argument for call in calls for argument in call["arguments"]}
        return cls(tuple(call["name"] for call in calls), taste="about" in given, like="like" in given)


class DemonstrationIndex:
    """The demonstrations of one catalogue, to be asked about a message.

    Args:
        encode: texts to unit vectors, shape (n, d).
        tools: demonstrations whose calls do not fit these tools are left out, so that a shop is never shown
            how to ask for a genre it does not have.
    """

    def __init__(self, encode: Encode, tools: Mapping[str, Tool]) -> None:
        self._kept = [d for d in prompts.demonstrations() if all(_fits(tools, call) for call in d.calls)]
        forms = [_form(d) for d in self._kept]
        self._encode = encode
        self._plain = self._embed(forms)
        titled = [form != d.say for form, d in zip(forms, self._kept, strict=True)]
        self._vectors = _with_cues(self._plain, forms, titled)
        self._shapes = [Shape.of(d.calls) for d in self._kept]
        self._classes = list(dict.fromkeys(self._shapes))
        belongs = np.array([[shape == one for one in self._classes] for shape in self._shapes], dtype=np.float64)
        kernel = _kernel(self._vectors, self._vectors)
        self._dual = np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), belongs)
        self._word_vector = lru_cache(maxsize=4096)(lambda word: encode([word])[0])
        self._labels: dict[tuple[str, ...], NDArray[np.float32]] = {}

    def nearest(self, message: str, *, most: int, shape: Shape | None = None) -> Near:
        """The demonstrations (of a shape) most like the message with their cosines, nearest first."""
        similarity = self._plain @ self._embed([message])[0]
        order = (-similarity).argsort(kind="stable")
        fitting = [i for i in order if shape is None or self._shapes[i] == shape]
        return [(self._kept[i], float(similarity[i])) for i in fitting[:most]]

    def shape(self, mentions: Mentions) -> Shape:
        """The plan a message calls for.

        A message that first tells and then asks ("gave up on it, something lighter?") is read part by part.
        """
        whole = mentions.bare
        told, asked = wording.statement(whole), wording.wish(whole)
        titled = bool(mentions.titles or mentions.unknown)
        if told == whole or asked == whole:
            return self._best([whole], titled)[0]
        first, second, both = self._best([told, asked, whole], titled)
        if not first.tools:
            return second  # "thanks, and now something funny"
        if first.tools[0] == FEEDBACK and second.tools in (("search_items",), ("recommend",)):
            # what is said of a title is no taste, whoever has it
            taste = first.taste and not (titled and wording.STANDS_FOR_TITLE in told.split())
            parts = Shape((FEEDBACK, *second.tools), taste=taste, like=second.like)
            return both if both.tools == parts.tools and both.taste == taste else parts
        return both

    def _embed(self, forms: Sequence[str]) -> NDArray[np.float32]:
        return self._encode([wording.without_places(form) for form in forms])

    def _best(self, forms: Sequence[str], titled: bool) -> list[Shape]:
        vectors = _with_cues(
            self._embed(forms), forms, [titled and wording.STANDS_FOR_TITLE in f.split() for f in forms]
        )
        scores = _kernel(vectors, self._vectors) @ self._dual
        return [self._classes[i] for i in scores.argmax(axis=1)]

    def labels_meant(self, labels: Sequence[str], mentions: Mentions, *, loosely: bool) -> tuple[set[str], set[str]]:
        """Labels the message wants, and labels it refuses.

        Args:
            loosely: also those that a word of it means without saying ("scary": Horror).
        """
        found = labels_said(labels, mentions.bare)
        if loosely:
            key = tuple(labels)
            if key not in self._labels:
                self._labels[key] = self._encode(list(labels))
            for word in label_words(mentions):
                if not labels_said(labels, word):
                    similarity = self._labels[key] @ self._word_vector(word)
                    best, next_best = (-similarity).argsort(kind="stable")[:2]
                    lead = similarity[best] - similarity[next_best]
                    if similarity[best] >= LABEL_SIMILARITY and lead >= LABEL_MARGIN:
                        found.setdefault(labels[best], word)
        return wanted_and_refused(found, mentions)


def _fits(tools: Mapping[str, Tool], call: Mapping[str, Any]) -> bool:
    tool = tools.get(call["name"])
    if tool is None:
        return False
    try:
        tool.arguments.model_validate(call["arguments"])
    except ValidationError:
        return False
    return True


def _form(demonstration: prompts.Demonstration) -> str:
    """What is said, with each title replaced: "loved Alien" and "loved Heat" are one form."""
    said = demonstration.say
    for call in demonstration.calls:
        for argument in ("title", "like"):
            if title := call["arguments"].get(argument):
                said = re.sub(rf"(?<!\w){re.escape(title)}(?!\w)", wording.STANDS_FOR_TITLE, said)
    return said


def _with_cues(vectors: NDArray[np.float32], forms: Sequence[str], titled: Sequence[bool]) -> NDArray[np.float64]:
    """Embeddings, shape (n, d), with the cues of wording beside them; rows of length 1."""
    cues = np.array([_cues(form, has) for form, has in zip(forms, titled, strict=True)], dtype=np.float64)
    joined: NDArray[np.float64] = np.hstack([vectors, CUE_WEIGHT * (2.0 * cues - 1.0)])
    joined /= np.sqrt(1.0 + CUE_WEIGHT**2 * cues.shape[1])
    return joined


def _cues(form: str, titled: bool) -> list[bool]:
    opinion = wording.opinion_said(form)
    return [
        titled,
        bool(wording.places_said(form)),
        wording.points(form),
        wording.refuses(form),
        *(opinion == one for one in ("like", "dislike", "seen", "skip")),
        wording.asks(form),
        wording.numbers_said(form) != ((), ()),
        wording.grade_said(form) is not None,
    ]


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel of unit rows, shape (len(a), len(b))."""
    kernel: NDArray[np.float64] = np.exp(a @ b.T - 1.0)
    return kernel

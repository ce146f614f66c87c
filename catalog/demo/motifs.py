"""Which drawing a poster gets."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from . import scenes_bold as bold
from . import scenes_calm as calm
from .brush import Brush

Motif = Callable[[Brush], None]

#: What may be drawn for each genre.
MOTIFS: Mapping[str, tuple[Motif, ...]] = {
    "Action": (bold.action, bold.bolt),
    "Adventure": (bold.adventure, bold.sails),
    "Animation": (calm.animation,),
    "Comedy": (calm.comedy, calm.bunting),
    "Crime": (bold.crime, bold.skyline),
    "Documentary": (calm.documentary,),
    "Drama": (calm.drama, calm.window, calm.bridge, calm.tree, calm.door),
    "Family": (calm.family, calm.animation),
    "Fantasy": (bold.fantasy,),
    "History": (calm.history,),
    "Horror": (bold.horror, bold.jaws),
    "Music": (calm.music, calm.keys),
    "Musical": (calm.keys, calm.music),
    "Mystery": (bold.mystery, bold.lens),
    "Romance": (calm.romance, calm.bridge, calm.embrace),
    "Science Fiction": (bold.space, bold.rocket),
    "Thriller": (bold.thriller, bold.stairs),
    "War": (bold.war,),
    "Western": (bold.western,),
}


def motif_for(genres: Sequence[str], chance: random.Random) -> Motif:
    """The drawing for a film: of its first genre that says more than "Drama", else one for dramas."""
    # Most films are dramas too, and not every animated film is for children.
    vague = {"Drama"} if "Family" in genres else {"Drama", "Animation"}
    known = [genre for genre in genres if genre in MOTIFS]
    telling = [genre for genre in known if genre not in vague] or known or ["Drama"]
    return chance.choice(MOTIFS[telling[0]])

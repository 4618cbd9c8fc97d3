"""Which kind of animal a source shows: for the evaluation's tables, and for which are pasted more often.

Photographs by the WordNet number in their group's name (https://image-net.org), by eye from the list of classes.
"""

from models.pictures import synset_of

_TRAP = "trap frames"
_KINDS = (
    (1_514_668, 1_622_779, "birds"),
    (1_795_545, 1_860_187, "birds"),
    (2_002_556, 2_058_221, "birds"),
    (2_085_620, 2_113_978, "dogs"),
    (2_114_367, 2_120_505, "wolves and foxes"),
    (2_123_045, 2_130_308, "cats"),
    (2_132_136, 2_134_418, "bears"),
    (2_325_366, 2_364_673, "hares and rodents"),
    (2_389_026, 2_437_616, "hoofed animals"),
    (2_441_942, 2_447_366, "martens and their kin"),
    (2_480_495, 2_500_267, "monkeys and lemurs"),
)


def kind_of(source: str) -> str:
    """The kind of a source, by its group: a photograph's animal, a camera of real frames, or other mammals."""
    synset = synset_of(source)
    if synset is None:
        return _TRAP
    return next((kind for low, high, kind in _KINDS if low <= synset <= high), "other mammals")

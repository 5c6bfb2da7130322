"""All the shapes, by name."""

from tests.shapes import conditional, custom, heads, images, sequences, tables
from tests.shapes.shape import Shape

NOT_YET = {"logits", "attention", "einsum", "named tuple", "dictionary", "z among the outputs"}

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for family in (images, heads, conditional, sequences, tables, custom)
    for shape in family.SHAPES
    if shape.name not in NOT_YET
}

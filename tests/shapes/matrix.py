"""All the shapes, by name."""

from tests.shapes import conditional, custom, heads, images, sequences, tables
from tests.shapes.shape import Shape

SHAPES: dict[str, Shape] = {
    shape.name: shape for family in (images, heads, conditional, sequences, tables, custom) for shape in family.SHAPES
}
